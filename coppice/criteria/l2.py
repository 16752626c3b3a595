"""Euclidean norm of a unit's filters (Li et al. 2017, section 4.4, compare it with the l1 norm; arXiv 1608.08710)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.filters import summed


def l2(group: Group, tensors: Mapping[str, torch.Tensor], _: np.random.Generator) -> NDArray[np.float64]:
    """Scores of shape (group.size,); needs no data."""
    return np.sqrt(summed(group, tensors, torch.square))
