"""Euclidean norm of a unit's filters (Li et al. 2017, section 4.4, compare it with the l1 norm; arXiv 1608.08710)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.evidence import Evidence
from coppice.criteria.filters import summed


def l2(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The Euclidean norm of its filters."""
    return np.sqrt(summed(group, evidence, torch.square))
