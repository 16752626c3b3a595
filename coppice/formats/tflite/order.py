"""Which output of a converted file is which of the model: Keras may list several outputs in another order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coppice.errors import ReloadFailed

#: TensorFlow adds in another order and folds layers; relative to the largest number of an output.
TOLERANCE = 1e-3


def in_order(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[int]:
    """For every output of the model, which one of the file it is: the first that nobody took and that equals it.

    `found` may have more rows than `wanted`. Raises ReloadFailed where an output has no equal.
    """
    order: list[int] = []
    for number, want in enumerate(wanted):
        left = [place for place in range(len(found)) if place not in order]
        equal = next((place for place in left if _equal(found[place], want)), None)
        if equal is None:
            raise ReloadFailed(
                f"TensorFlow's converter made another model of this one: output {number} is none of the file's "
                f"{len(found)}, {_nearest([found[place] for place in left], want)}. Use format=onnx."
            )
        order.append(equal)
    return order


def _distance(found: Tensor, wanted: Tensor) -> float:
    rows = found[: wanted.shape[0]]
    if rows.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    largest = max(float(wanted.nan_to_num().abs().max()), 1e-30)
    return float((rows.double() - wanted.double()).abs().max()) / largest


def _equal(found: Tensor, wanted: Tensor) -> bool:
    rows = found[: wanted.shape[0]]
    if torch.equal(rows.isnan(), wanted.isnan()) if rows.shape == wanted.shape else False:
        return _distance(rows.nan_to_num(), wanted.nan_to_num()) <= TOLERANCE
    return False


def _nearest(found: Sequence[Tensor], wanted: Tensor) -> str:
    worst = min((_distance(one, wanted) for one in found), default=float("inf"))
    return "which have other shapes" if worst == float("inf") else f"the nearest being {worst:.1e} off, relative"
