"""score: how much each unit of each group matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels, Group
from coppice.criteria import INSTEAD, WITH_SAMPLES, WITHOUT_SAMPLES, CannotJudge, Criterion, Evidence, Needs, criterion
from coppice.errors import CriterionUnsuitable, SamplesMissing
from coppice.steps.account import Names
from coppice.tracing import Network

#: One vector per group, in the order of `Channels.groups`; the lowest go first.
Scores = tuple[NDArray[np.float64], ...]

#: Groups that a note names before it says "and N more".
NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the units of every group are worth, by which criterion.

    Scores are in one unit for all groups, the loss or the share of a group's mean, but for the groups `alone`.
    """

    scores: Scores
    criterion: str
    notes: tuple[str, ...] = ()
    alone: frozenset[int] = frozenset()  # numbers of groups whose scores compare with no other's


def score(network: Network, channels: Channels, name: str, seed: int = 0) -> Scored:
    """Scores by the criterion `name`, or the best that the samples allow for `auto`. The same seed, the same scores.

    Raises UnknownCriterion, SamplesMissing, and CriterionUnsuitable where the criterion can judge none of the groups.
    """
    chosen = name
    if name == "auto":
        chosen = WITHOUT_SAMPLES if network.samples is None else WITH_SAMPLES
    entry = criterion(chosen)
    _check(network, chosen, entry)
    evidence = Evidence(network=network, groups=channels.groups, seed=seed)
    judged = [_judged(chosen, group, evidence) for group in channels.groups]
    if judged and all(one.by == INSTEAD != chosen for one in judged):
        if name == "auto":
            return score(network, channels, WITHOUT_SAMPLES, seed)
        raise CriterionUnsuitable(_unsuitable(chosen, judged), field="criterion")
    return Scored(
        scores=tuple(one.scores if criterion(one.by).losses else _relative(one.scores) for one in judged),
        criterion=chosen,
        notes=(*entry.remarks(evidence), *_instead(chosen, judged, channels, Names(network))),
        alone=frozenset(number for number, one in enumerate(judged) if entry.losses and one.by != chosen),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """The scores of a group, by the first criterion that could judge it, and why those before could not."""

    scores: NDArray[np.float64]
    by: str
    reason: str = ""


def _judged(name: str, group: Group, evidence: Evidence) -> _Judged:
    reason = ""
    for one in (name, *criterion(name).instead):
        try:
            return _Judged(scores=_rated(criterion(one), group, evidence), by=one, reason=reason)
        except CannotJudge as e:
            reason = reason or str(e)
    return _Judged(scores=np.zeros(group.size), by=INSTEAD, reason=reason)  # its weights are no numbers


def _rated(entry: Criterion, group: Group, evidence: Evidence) -> NDArray[np.float64]:
    scores = entry.rate(group, evidence)
    if not np.isfinite(scores).all():
        raise CannotJudge("get scores that are no numbers")
    return scores


def _check(network: Network, name: str, entry: Criterion) -> None:
    if entry.needs is Needs.NOTHING:
        return
    if network.samples is None:
        labels = ", with their labels" if entry.needs is Needs.LABELS else ""
        raise SamplesMissing(
            f"criterion={name} looks at samples of the model's inputs{labels}, and none were sent. Send some (256 are "
            "enough) as `dataset`, or take a criterion that needs none: l1, l2, geometric_median, batch_norm.",
            field="criterion",
        )
    if entry.needs is Needs.LABELS and network.samples.labels is None:
        raise SamplesMissing(
            f"criterion={name} needs the labels of the samples, and these were sent without. Send pairs of inputs and "
            "labels as `dataset`, or take a criterion that needs no labels: obs or wanda.",
            field="criterion",
        )


def _relative(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """As shares of their mean, which leaves their order alone."""
    mean = scores.mean() if scores.size else 0.0
    return scores / mean if 0 < mean < np.inf else scores


def _instead(name: str, judged: Sequence[_Judged], channels: Channels, names: Names) -> Iterator[str]:
    for reason, by in dict.fromkeys((one.reason, one.by) for one in judged if one.by != name):
        groups = [
            ", ".join(names.producers(group))
            for one, group in zip(judged, channels.groups, strict=True)
            if (one.reason, one.by) == (reason, by)
        ]
        more = f"; and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
        listed = "; ".join(groups[:NAMED])
        yield f"{name} can't judge the channels of these, which {reason}; {by} chose instead: {listed}{more}"


def _unsuitable(name: str, judged: Sequence[_Judged]) -> str:
    reasons = "; ".join(f"its channels {reason}" for reason in dict.fromkeys(one.reason for one in judged))
    return f"criterion={name} can judge no group of this model: {reasons}. Take another criterion, or none."
