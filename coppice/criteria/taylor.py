"""First-order change of the loss without a unit, squared (Molchanov et al., Importance Estimation for Neural Network
Pruning, CVPR 2019, section 3.1, the joint contribution of a structural set of parameters; arXiv 1906.10771):

    (sum over the unit's weights of gradient * weight)^2

averaged over batches of the user's labelled samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coppice.calibration.gradients import NoGradient
from coppice.channels import Group
from coppice.criteria.evidence import CannotJudge, Evidence


def taylor(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The square of what the loss would change without it, to first order."""
    try:
        batches = evidence.slopes
    except NoGradient as e:
        raise CannotJudge(f"have no gradients: {e}") from e
    scores = np.zeros(group.size)
    for slopes in batches:
        change = np.zeros(group.size)
        for axis, slots in group.slots.items():
            if slots.produces:
                np.add.at(change, slots.unit, slopes[axis].cpu().numpy()[slots.position])
        scores += change**2 / len(batches)
    return scores
