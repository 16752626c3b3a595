"""Chance: the baseline that every criterion must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.evidence import Evidence


def random(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """A number drawn from the request's seed."""
    return evidence.generator.random(group.size)
