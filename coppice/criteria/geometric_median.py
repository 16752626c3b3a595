"""Distance of a unit's filters from all others: near the geometric median, the others can stand in for it.

He et al., Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration (FPGM), CVPR 2019,
section 3.3, where the filter that minimises the sum of distances to the others goes first; arXiv 1811.00250. Where
several layers produce the same channel, its filters in all of them are one vector.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group, Slots
from coppice.criteria.evidence import Evidence


def geometric_median(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The sum of the distances of its filters from those of the group's other channels."""
    squared = np.zeros((group.size, group.size))
    for (name, axis), slots in group.slots.items():
        if slots.produces:
            squared += _squared_distances(_filters(evidence.tensors[name].detach(), axis, slots, group.size))
    distances: NDArray[np.float64] = np.sqrt(squared).sum(1)
    return distances


def _filters(tensor: torch.Tensor, axis: int, slots: Slots, size: int) -> NDArray[np.float64]:
    """A row per unit: its filters in the order of their positions, zeros where it has fewer than others."""
    rows = tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1).double().cpu().numpy()
    order = np.lexsort((slots.position, slots.unit))
    unit, position = slots.unit[order], slots.position[order]
    which = np.arange(unit.size) - np.searchsorted(unit, unit)  # first, second, ... filter of the unit
    filters = np.zeros((size, which.max(initial=0) + 1, rows.shape[1]))
    filters[unit, which] = rows[position]
    return filters.reshape(size, -1)


def _squared_distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    products = rows @ rows.T
    lengths = np.diagonal(products)
    return np.maximum(lengths[:, None] + lengths - 2 * products, 0)
