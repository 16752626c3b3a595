"""Sum of absolute weights of a unit's filters (Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, step 1 of
section 3.1; arXiv 1608.08710), over all filters where several layers produce the same channel.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.evidence import Evidence
from coppice.criteria.filters import summed


def l1(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """The sum of the absolute weights of its filters."""
    return summed(group, evidence, torch.abs)
