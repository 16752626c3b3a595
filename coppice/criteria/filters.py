"""Sums over the filters of a unit: what the magnitude criteria share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group


def summed(
    group: Group, tensors: Mapping[str, torch.Tensor], value: Callable[[torch.Tensor], torch.Tensor]
) -> NDArray[np.float64]:
    """For each unit, the sum of `value(weight)` over every slot that produces it; shape (group.size,), float64."""
    scores = np.zeros(group.size)
    for (name, axis), slots in group.slots.items():
        if slots.produces:
            values = value(tensors[name].detach().movedim(axis, 0)).reshape(tensors[name].shape[axis], -1)
            by_position = values.sum(1, dtype=torch.float64).cpu().numpy()
            np.add.at(scores, slots.unit, by_position[slots.position])
    return scores
