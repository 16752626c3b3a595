"""Chance: the baseline that every criterion must beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group


def random(group: Group, _: Mapping[str, torch.Tensor], generator: np.random.Generator) -> NDArray[np.float64]:
    """Scores of shape (group.size,), drawn from the request's seed."""
    return generator.random(group.size)
