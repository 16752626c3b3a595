"""drop: the smallest model whose loss the user accepts, found by halving the way to the cut that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

from coppice.errors import SamplesMissing, TargetUnreachable
from coppice.records.report import Distance, Fidelity, Quality, Trial

#: Models that are made and judged beside the largest.
TRIALS = 7

#: Makes, repairs and judges the cut at a step; tells what share of the channels went and how many parameters are left.
Judged = Callable[[int], tuple[float, int, Quality]]


def loss(before: Fidelity, after: Fidelity, distance: Distance) -> float:
    """What a model has lost on the samples held out, as a fraction.

    Accuracy, where labels are classes; the share of variance explained (R²), where they are targets; without labels,
    agreement with the original's classes; where it names none, the share of its outputs' variance that is missed, or
    the most of the probability that can have moved (total variation <= sqrt(2 js), by Pinsker's inequality to the mean
    of both: Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37, 1991).
    """
    if after.distance is None:
        return math.inf
    if before.accuracy is not None and after.accuracy is not None:
        return before.accuracy - after.accuracy
    if before.error is not None and after.error is not None:
        return after.error - before.error
    if after.agreement is not None:
        return 1 - after.agreement
    return after.distance if distance is Distance.MSE else min(1.0, math.sqrt(2 * after.distance))


def largest_within(limit: float, steps: int, judged: Judged) -> tuple[int, tuple[Trial, ...]]:
    """The last step of `steps`, the largest tried first, whose loss is within the limit; and all that were tried.

    Raises TargetUnreachable when none of them is.
    """
    trials: list[Trial] = []

    def accepted(step: int) -> bool:
        share, parameters, quality = judged(step)
        drop = loss(quality.before, quality.restored, quality.distance)
        told = None if math.isinf(drop) else drop
        trials.append(Trial(share=share, parameters=parameters, drop=told, accepted=drop <= limit))
        return trials[-1].accepted

    low, high = (steps, steps) if accepted(steps) else (0, steps)
    while high - low > 1 and len(trials) <= TRIALS:
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    some = [trial for trial in trials if trial.share]
    if some and not any(trial.accepted for trial in some):
        least = min(some, key=lambda trial: trial.share)
        cost = "gives outputs that are no numbers" if least.drop is None else f"costs {least.drop:.3g}"
        raise TargetUnreachable(
            f"max_drop={limit:g} can't be kept: even the smallest cut that was tried, {least.share:.1%} of the "
            f"channels, {cost} on the samples held out. Accept more, or send more samples.",
            field="max_drop",
        )
    return low, tuple(trials)


def missing() -> SamplesMissing:
    """The error where there is nothing to judge by."""
    return SamplesMissing(
        "max_drop needs samples: it looks for the smallest model whose loss on them is within the limit, and there are "
        "none to judge by. Send some (the dataset part, or samples=), with labels for a loss of accuracy.",
        field="max_drop",
    )
