"""Find the largest cut that the oracle accepts.

First everything that was asked, at once. Where the pruned model fails, the groups at fault are found by bisection and
kept, each with what went wrong as the reason: first those without which the model does not even run (its code reshapes
to a hard-coded number, say), by plain forward passes; then, among the rest, those that give other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from torch import nn

from coppice.errors import CoppiceError, ForwardFailed, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Verification
from coppice.steps.allocate import Allocation
from coppice.steps.apply import apply
from coppice.steps.make_plan import complete_plan
from coppice.steps.score import Scores
from coppice.steps.verify import verify
from coppice.tracing import Network, Traced, forward, training

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A pruned model that passed the oracle."""

    module: nn.Module
    plan: Plan
    groups: tuple[int, ...]  # the groups that were cut
    verification: Verification


def largest_cut(
    network: Network, traced: Traced, scores: Scores, allocation: Allocation, candidates: Sequence[int]
) -> tuple[Cut, dict[int, str]]:
    """The largest verified cut of the candidate groups, and why each of the others had to stay whole."""

    groups = traced.channels.groups
    bundles: dict[int, list[int]] = {}  # groups that lose one share go together or stay together
    for number in candidates:
        bundles.setdefault(groups[number].bundle, []).append(number)

    def members(chosen: Sequence[int]) -> list[int]:
        return sorted(number for bundle in chosen for number in bundles[bundle])

    @cache
    def plan_of(chosen: tuple[int, ...]) -> Plan:
        return complete_plan(traced, scores, allocation, members(chosen))

    def run(chosen: tuple[int, ...]) -> None:
        pruned = apply(network.module, plan_of(chosen))
        forward(pruned, network.inputs)
        train(network, traced, pruned)

    def check(chosen: tuple[int, ...]) -> Cut:
        return checked(network, traced, plan_of(chosen), members(chosen))

    def both(chosen: tuple[int, ...]) -> Cut:
        cut = check(chosen)
        train(network, traced, cut.module)
        return cut

    refused = _conflicts(traced, plan_of, bundles)
    wanted = tuple(bundle for bundle in bundles if bundle not in refused)
    try:
        found = both(wanted)
    except (ForwardFailed, VerificationFailed):
        suspects = _suspects(traced, bundles)
        running = _Admission(run, suspects).of(wanted)
        equal = _Admission(check, suspects).of(running.accepted)
        refused |= running.refused | equal.refused
        found = equal.result or check(())
    return found, {number: reason for bundle, reason in refused.items() for number in bundles[bundle]}


def _conflicts(
    traced: Traced, plan_of: Callable[[tuple[int, ...]], Plan], bundles: Mapping[int, Sequence[int]]
) -> dict[int, str]:
    """The bundles whose cut would make a size in the code wrong whatever the model's attributes become."""
    channels, refused = traced.channels, dict[int, str]()
    while found := traced.integers.conflicts(plan_of(tuple(one for one in bundles if one not in refused)).kept):
        new = {
            channels.groups[number].bundle: conflict.reason
            for conflict in found
            for number in traced.integers.groups_of(channels, conflict.units)
        }
        if not new.keys() & bundles.keys() - refused.keys():
            return refused
        refused |= {bundle: reason for bundle, reason in new.items() if bundle in bundles and bundle not in refused}
    return refused


def _suspects(traced: Traced, bundles: Mapping[int, Sequence[int]]) -> dict[int, str]:
    """The bundles that hold positions which the code counts with a number that may not follow."""
    channels = traced.channels
    return {
        bundle: suspect.reason
        for suspect in traced.integers.suspects
        for number in traced.integers.groups_of(channels, suspect.units)
        if (bundle := channels.groups[number].bundle) in bundles
    }


class _Admission(Generic[T]):
    """The largest set that `attempt` does not refuse, found by halving, and its result; None if there is no such set.

    At the first refusal the suspects are left out, each for its own reason: mostly, they are all there is to find.
    """

    def __init__(self, attempt: Callable[[tuple[int, ...]], T], suspects: Mapping[int, str]) -> None:
        self._attempt, self._suspects = attempt, suspects
        self.result: T | None = None
        self.accepted: tuple[int, ...] = ()
        self.refused: dict[int, str] = {}

    def of(self, candidates: tuple[int, ...]) -> _Admission[T]:
        if not candidates:
            return self
        try:
            self.result = self._attempt((*self.accepted, *candidates))
        except (ForwardFailed, VerificationFailed) as e:
            if held := {one: self._suspects[one] for one in candidates if one in self._suspects}:
                self.refused |= held
                return self.of(tuple(one for one in candidates if one not in held))
            if len(candidates) == 1:
                self.refused[candidates[0]] = _reason(e)
                return self
            middle = len(candidates) // 2
            return self.of(candidates[:middle]).of(candidates[middle:])
        self.accepted += candidates
        return self


def train(network: Network, traced: Traced, pruned: nn.Module) -> None:
    """Raise ForwardFailed unless the cut model runs in training mode, too, if the whole one does."""
    if traced.trains:
        with training(pruned):
            forward(pruned, network.inputs)


def checked(network: Network, traced: Traced, plan: Plan, chosen: Sequence[int]) -> Cut:
    """The cut of the groups `chosen` by their plan, if it is right; raises ForwardFailed, VerificationFailed."""
    pruned, groups = apply(network.module, plan), traced.channels.groups
    bundles = {groups[number].bundle for number in chosen if groups[number].mixes}  # none is cut without its others
    mixing = [number for number in chosen if groups[number].bundle in bundles]
    verification = verify(network, pruned, plan, exact=not mixing)
    if mixing:
        reasons = dict.fromkeys(reason for number in mixing if (reason := groups[number].mixes))
        covered = (
            f"{len(chosen) - len(mixing)} of {len(chosen)} groups leave the outputs equal to the masked original's; for"
            " the others that can't hold, and the models were compared with what follows their widths held equal"
        )
        verification = verification.model_copy(update={"notes": (*verification.notes, covered, *reasons)})
    return Cut(module=pruned, plan=plan, groups=tuple(chosen), verification=verification)


def _reason(error: CoppiceError) -> str:
    return f"the model does not work without these channels: {error.message}"
