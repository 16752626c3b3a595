"""Which output of a converted file is which of the model."""

from __future__ import annotations

import pytest
import torch

from coppice.errors import ReloadFailed
from coppice.formats.tflite.order import in_order


def test_outputs_are_found_by_their_numbers_whatever_their_order() -> None:
    rows = torch.arange(12.0).reshape(4, 3)
    # The file ran on all four samples, the model on the first of them.
    assert in_order([-rows, rows * (1 + 1e-5), rows[:, :2]], [rows[:1], rows[:1, :2], -rows[:1]]) == [1, 2, 0]


def test_outputs_that_are_equal_are_each_given_once() -> None:
    rows = torch.ones(2, 3)
    assert in_order([rows, rows], [rows, rows]) == [0, 1]


def test_numbers_that_are_none_are_equal_where_both_have_them() -> None:
    rows = torch.tensor([[float("nan"), 1.0]])
    assert in_order([rows.clone()], [rows]) == [0]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (torch.tensor([[1.0, 2.2]]), r"1\.0e-01 off"),
        (torch.ones(1, 3), "other shapes"),
        (torch.tensor([[float("nan"), 2.0]]), "output 0"),
    ],
    ids=["other numbers", "another shape", "no number"],
)
def test_a_file_that_computes_something_else_is_refused(found: torch.Tensor, says: str) -> None:
    with pytest.raises(ReloadFailed, match=says):
        in_order([found], [torch.tensor([[1.0, 2.0]])])
