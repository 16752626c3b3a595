"""A plan follows a framework that counts its layers, and no other change of names."""

from __future__ import annotations

import pytest

from coppice.records.plan import Plan
from coppice.steps.renumber import renumbered

PLAN = Plan(
    kept={"conv2d.kernel": {3: (0, 2)}, "block.dense_1.kernel": {0: (0, 2)}},
    shapes={"conv2d.kernel": (3, 3, 1, 4), "block.dense_1.kernel": (4, 2)},
    edits={"conv2d": (1,), "block.dense_1": None, "conv*": None},
)


def test_counts_of_layers_are_those_of_the_model() -> None:
    found = renumbered(PLAN, {"conv2d_7.kernel": (3, 3, 1, 4), "block_2.dense_3.kernel": (4, 2)})
    assert found.kept == {"conv2d_7.kernel": {3: (0, 2)}, "block_2.dense_3.kernel": {0: (0, 2)}}
    assert found.edits == {"conv2d_7": (1,), "block_2.dense_3": None, "conv*": None}
    assert list(found.shapes) == ["conv2d_7.kernel", "block_2.dense_3.kernel"]


@pytest.mark.parametrize(
    "found",
    [
        {"conv2d_7.kernel": (3, 3, 1, 5), "block.dense_1.kernel": (4, 2)},
        {"convolution.kernel": (3, 3, 1, 4), "block.dense_1.kernel": (4, 2)},
        {"block.dense_2.kernel": (4, 2), "conv2d.kernel": (3, 3, 1, 4)},
        {"conv2d_7.kernel": (3, 3, 1, 4)},
    ],
)
def test_what_differs_otherwise_stays_under_its_names(found: dict[str, tuple[int, ...]]) -> None:
    assert renumbered(PLAN, found) == PLAN
