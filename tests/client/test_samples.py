"""Samples as people have them in hand become one file of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from coppice.client.samples import MOST, samples_file
from coppice.errors import DatasetInvalid
from coppice.formats.samples import MOST as READ

X, Y = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20)


def _batches() -> Iterator[tuple[Any, Any]]:
    for start in range(0, 20, 7):
        yield X[start : start + 7], Y[start : start + 7]


@pytest.mark.parametrize(
    "samples",
    [
        (X, Y),
        [X, Y],
        [(X[:9], Y[:9]), (X[9:], Y[9:])],
        _batches(),
        DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=8),
        (torch.from_numpy(X).requires_grad_(), Y.tolist()),
    ],
    ids=["pair", "list of arrays", "list of batches", "generator", "loader", "tensors"],
)
def test_every_kind_of_samples_is_the_same_file(samples: Any, tmp_path: Path) -> None:
    with np.load(samples_file(samples, tmp_path)) as arrays:
        assert arrays.files == ["arr_0", "arr_1"]
        assert np.array_equal(arrays["arr_0"], X)
        assert np.array_equal(arrays["arr_1"], Y)


def test_entries_keep_their_names(tmp_path: Path) -> None:
    for samples in ({"ids": X, "labels": Y}, iter([{"ids": X[:5], "labels": Y[:5]}, {"ids": X[5:], "labels": Y[5:]}])):
        with np.load(samples_file(samples, tmp_path)) as arrays:
            assert np.array_equal(arrays["ids"], X)
            assert np.array_equal(arrays["labels"], Y)


def test_no_more_is_read_than_a_service_reads(tmp_path: Path) -> None:
    given = []

    def endless() -> Iterator[Any]:
        while True:
            given.append(1)
            yield np.zeros((256, 2), np.float32)

    with np.load(samples_file(endless(), tmp_path)) as arrays:
        assert arrays["arr_0"].shape == (MOST, 2)
    assert MOST == READ
    assert len(given) == MOST / 256


@pytest.mark.parametrize(
    "samples", [iter(()), iter([(X, Y), X]), iter([X, X[:, :2]])], ids=["none", "other entries", "other shapes"]
)
def test_batches_that_do_not_fit_are_refused(samples: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid):
        samples_file(samples, tmp_path)
