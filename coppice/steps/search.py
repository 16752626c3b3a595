"""Find the largest cut that the oracle accepts.

First everything that was asked. Where the pruned model fails (its code reshapes to a hard-coded number, say), the
groups at fault are found by bisection and kept, each with what went wrong as the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from coppice.channels import Channels
from coppice.errors import CoppiceError, ForwardFailed, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Check, Verification
from coppice.steps.apply import apply
from coppice.steps.make_plan import make_plan
from coppice.steps.score import Scores
from coppice.steps.verify import verify
from coppice.tracing import Network, Traced, forward, training


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A pruned model that passed the oracle."""

    module: nn.Module
    plan: Plan
    groups: tuple[int, ...]  # the groups that were cut
    verification: Verification


@dataclass(slots=True)
class _Search:
    attempt: Callable[[Sequence[int]], Cut]
    best: Cut
    refused: dict[int, str] = field(default_factory=dict)

    def admit(self, candidates: Sequence[int]) -> None:
        """Add the candidates to the best cut so far, halving them where they fail."""
        try:
            self.best = self.attempt([*self.best.groups, *candidates])
        except (ForwardFailed, VerificationFailed) as e:
            if len(candidates) == 1:
                self.refused[candidates[0]] = _reason(e)
                return
            middle = len(candidates) // 2
            self.admit(candidates[:middle])
            self.admit(candidates[middle:])


def largest_cut(
    network: Network, traced: Traced, scores: Scores, percent: float, candidates: Sequence[int]
) -> tuple[Cut, dict[int, str]]:
    """The largest verified cut of the candidate groups, and why each of the others had to stay whole."""

    def attempt(chosen: Sequence[int]) -> Cut:
        return _attempt(network, traced, scores, percent, sorted(chosen))

    search = _Search(attempt, best=attempt([]))
    search.admit(candidates)
    return search.best, search.refused


def _attempt(network: Network, traced: Traced, scores: Scores, percent: float, chosen: Sequence[int]) -> Cut:
    channels = traced.channels
    plan = make_plan(channels, scores, percent, chosen)
    pruned = apply(network.module, plan)
    forward(pruned, network.inputs)  # cuts that do not even run are told apart before the oracle's costlier passes
    verification = _verified(network, channels, scores, percent, chosen, plan, pruned)
    if traced.trains:
        with training(pruned):
            forward(pruned, network.inputs)
    return Cut(module=pruned, plan=plan, groups=tuple(chosen), verification=verification)


def _verified(
    network: Network,
    channels: Channels,
    scores: Scores,
    percent: float,
    chosen: Sequence[int],
    plan: Plan,
    pruned: nn.Module,
) -> Verification:
    mixing = [number for number in chosen if channels.groups[number].mixes]
    if not mixing:
        return verify(network, pruned, plan, exact=True)
    alone = make_plan(channels, scores, percent, [number for number in chosen if number not in mixing])
    exact = verify(network, apply(network.module, alone), alone, exact=True)
    loose = verify(network, pruned, plan, exact=False)
    reasons = tuple(dict.fromkeys(channels.groups[number].mixes or "" for number in mixing))
    covered = f"{len(chosen) - len(mixing)} of {len(chosen)} groups were verified exactly"
    if exact.check is Check.EXACT:
        covered += f" (largest relative difference {exact.max_relative_difference:.1e})"
    return loose.model_copy(
        update={"notes": (*loose.notes, f"{covered}; for the others equality can't hold", *reasons)}
    )


def _reason(error: CoppiceError) -> str:
    return f"the model does not work without these channels: {error.message}"
