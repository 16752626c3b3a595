"""The filters of a unit, and sums over them: what the criteria that need no samples share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.evidence import Evidence

Floats = NDArray[np.float64]


def summed(group: Group, evidence: Evidence, value: Callable[[torch.Tensor], torch.Tensor]) -> Floats:
    """For each unit, the sum of `value(weight)` over every slot that produces it; shape (group.size,), float64."""
    scores = np.zeros(group.size)
    for (name, axis), slots in group.slots.items():
        if slots.produces:
            tensor = evidence.tensors[name].detach()
            values = value(tensor.movedim(axis, 0)).reshape(tensor.shape[axis], -1)
            by_position = values.sum(1, dtype=torch.float64).cpu().numpy()
            np.add.at(scores, slots.unit, by_position[slots.position])
    return scores
