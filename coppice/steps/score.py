"""score: how much each unit of each group matters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Channels
from coppice.criteria import criterion

#: One vector per group, in the order of `Channels.groups`; the lowest go first.
Scores = tuple[NDArray[np.float64], ...]


def score(channels: Channels, tensors: Mapping[str, torch.Tensor], name: str, seed: int) -> Scores:
    """Scores by the criterion `name`; raises UnknownCriterion. The same seed gives the same scores."""
    rate = criterion("l1" if name == "auto" else name)
    generator = np.random.default_rng(seed)
    return tuple(rate(group, tensors, generator) for group in channels.groups)
