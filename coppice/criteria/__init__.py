"""ONE PLACE for importance: how much the model would miss each unit of a group. One file per criterion.

To add one, write its file and add its line to the table; or, in a package of your own, name it by an entry point:

    [project.entry-points."coppice.criteria"]
    mine = "my_package:mine"

where `mine` is a `Criterion`, or a function `(group, evidence) -> scores` that needs no samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Group
from coppice.criteria.batch_norm import batch_norm
from coppice.criteria.evidence import CannotJudge, Evidence
from coppice.criteria.geometric_median import geometric_median
from coppice.criteria.l1 import l1
from coppice.criteria.l2 import l2
from coppice.criteria.obs import obs, remarks
from coppice.criteria.random import random
from coppice.criteria.taylor import taylor
from coppice.criteria.wanda import wanda
from coppice.errors import ParameterInvalid, UnknownCriterion
from coppice.records.plugins import CRITERIA as GROUP
from coppice.records.plugins import load, plugins, source

#: `(group, evidence) -> scores`, one per unit, none below 0; the lowest go first. Raises CannotJudge.
Rate = Callable[[Group, Evidence], NDArray[np.float64]]


#: What is meant by `auto`, with samples and without; and what rates the groups that nothing else can judge.
WITH_SAMPLES, WITHOUT_SAMPLES, INSTEAD = "obs", "l1", "l2"


class Needs(Enum):
    """What the user has to send for a criterion."""

    NOTHING = "nothing"
    SAMPLES = "samples"
    LABELS = "samples with labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """How units are rated, and what that takes."""

    rate: Rate
    needs: Needs = Needs.NOTHING
    #: Whether scores of different groups are in one unit, the loss; else they are compared as shares of a group's mean.
    losses: bool = False
    #: Who rates the groups that it can't judge: the first that can.
    instead: tuple[str, ...] = (INSTEAD,)
    #: What the report has to say of how it went.
    remarks: Callable[[Evidence], tuple[str, ...]] = lambda _: ()


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(rate=l1),
    "l2": Criterion(rate=l2),
    "geometric_median": Criterion(rate=geometric_median),
    "batch_norm": Criterion(rate=batch_norm),
    "taylor": Criterion(rate=taylor, needs=Needs.LABELS, losses=True),
    "wanda": Criterion(rate=wanda, needs=Needs.SAMPLES),
    "obs": Criterion(rate=obs, needs=Needs.SAMPLES, losses=True, instead=("wanda", INSTEAD), remarks=remarks),
    "random": Criterion(rate=random),
}


def criterion(name: str) -> Criterion:
    """The criterion of that name, built in or of a plugin; raises UnknownCriterion, which lists those there are.

    Raises ParameterInvalid where a plugin can't be loaded, is no criterion, or takes a name that is built in.
    """
    others = plugins(GROUP)
    if name in CRITERIA:
        if name in others:
            raise ParameterInvalid(
                f"{source(others[name])} brings a criterion {name!r}, and one of that name is built in. Rename the "
                "entry point of the plugin, or uninstall it.",
                field="criterion",
            )
        return CRITERIA[name]
    if name in others:
        return _plugin(others[name])
    there = ", ".join(sorted({*CRITERIA, *others}))
    raise UnknownCriterion(f"No criterion is called {name!r}. There are: {there}.", field="criterion")


@cache
def _plugin(entry: EntryPoint) -> Criterion:
    found = load(entry, "criterion")
    if isinstance(found, Criterion):
        return found
    if callable(found) and not isinstance(found, type):
        return Criterion(rate=found)
    raise ParameterInvalid(
        f"The plugin {entry.name!r} of {source(entry)} is a {type(found).__name__}, and must be a "
        "coppice.criteria.Criterion, or a function (group, evidence) -> scores.",
        field="criterion",
    )


__all__ = [
    "CRITERIA",
    "INSTEAD",
    "WITHOUT_SAMPLES",
    "WITH_SAMPLES",
    "CannotJudge",
    "Criterion",
    "Evidence",
    "Needs",
    "criterion",
]
