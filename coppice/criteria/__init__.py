"""ONE PLACE for importance: how much the model would miss each unit of a group. One file per criterion.

To add one, write its file and add its line to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.l1 import l1
from coppice.criteria.l2 import l2
from coppice.criteria.random import random
from coppice.errors import UnknownCriterion

#: `(group, tensors by name, random generator) -> scores`, one per unit; the lowest go first.
Criterion = Callable[[Group, Mapping[str, torch.Tensor], np.random.Generator], NDArray[np.float64]]

CRITERIA: dict[str, Criterion] = {"l1": l1, "l2": l2, "random": random}


def criterion(name: str) -> Criterion:
    """The criterion of that name; raises UnknownCriterion, which lists those there are."""
    try:
        return CRITERIA[name]
    except KeyError:
        raise UnknownCriterion(
            f"No criterion is called {name!r}. There are: {', '.join(sorted(CRITERIA))}.", field="criterion"
        ) from None


__all__ = ["CRITERIA", "Criterion", "criterion"]
