"""Weights times the size of what they meet: |W_ij| * ||x_j||_2 (Sun et al., A Simple and Effective Pruning Approach for
Large Language Models, ICLR 2024, equation 1; arXiv 2306.11695).

Structured as in FLAP's comparison (An et al., Fluctuation-based Adaptive Structured Pruning for Large Language Models,
AAAI 2024; arXiv 2312.11983): summed over all weights of all layers that read the unit's channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coppice.calibration.moments import Part, Reading
from coppice.channels import Group
from coppice.criteria.evidence import Evidence


def wanda(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The sum of the absolute weights that read it, each times the norm of what it reads."""
    scores = np.zeros(group.size)
    for reading, part in evidence.readings_of(group):
        scores += _of_reading(reading, part, group.size)
    return scores


def _of_reading(reading: Reading, part: Part, size: int) -> NDArray[np.float64]:
    matrix = reading.product.matrix(reading.product.weight).detach().abs().double().cpu().numpy()
    norms = np.sqrt(reading.mean_square * reading.seen)  # shape (groups, channels)
    of_channels = matrix.reshape(*norms.shape, -1).sum(2) * norms
    scores = np.zeros(size + 1)  # the last takes what belongs to no unit
    for units, channels, values in zip(part.units, part.channels, of_channels, strict=True):
        of_units = np.append(values, 0)[channels].sum(1)
        np.add.at(scores, units, of_units)
    return scores[:size]
