"""The factor by which a batch norm multiplies a channel: |gamma| (Liu et al., Learning Efficient Convolutional Networks
through Network Slimming, ICCV 2017, section 3, the scaling factors of equation 1; arXiv 1708.06519).

It says most of models that were trained with a penalty on these factors, as there. The sum, where several batch norms
scale the same channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.evidence import CannotJudge, Evidence


def batch_norm(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The absolute factor that batch norm gives it."""
    scores, scaled = np.zeros(group.size), np.zeros(group.size, dtype=bool)
    for (name, _), slots in group.slots.items():
        if slots.scales:
            factors = evidence.tensors[name].detach().abs().double().cpu().numpy()
            np.add.at(scores, slots.unit, factors[slots.position])
            scaled[slots.unit] = True
    if not scaled.all():
        raise CannotJudge("are not all scaled by a batch norm")
    return scores
