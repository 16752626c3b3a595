"""replan: a plan that was made elsewhere, and perhaps edited, brought to the groups of the model at hand.

Whatever a file or a user says, what comes out cuts whole units: a plan that doesn't is refused with the layer at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from coppice.channels import Channels, Group
from coppice.errors import ForwardFailed, ParameterInvalid, VerificationFailed
from coppice.records.plan import Plan
from coppice.steps.account import Names
from coppice.steps.make_plan import plan_of
from coppice.steps.renumber import renumbered
from coppice.steps.search import Cut, checked, train
from coppice.steps.wishes import outputs
from coppice.tracing import Network, Traced, stored
from coppice.tracing.network import tables

Axis = tuple[str, int]
Leaving = dict[int, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A cut by a given plan, and how many units of each group went: the account's side of it."""

    cut: Cut
    counts: Mapping[int, int]  # identity of the group -> units

    def asked(self, group: Group) -> int:
        """What goes is what was asked: a plan is followed or refused."""
        return self.counts[id(group)]

    total = asked

    def why(self, group: Group) -> str | None:  # noqa: ARG002  which the protocol gives
        """Nothing to explain."""
        return None


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The architecture that a plan is bound to: the shapes of parameters and buffers by name."""
    plain = tables(module)
    return {name: tuple(tensor.shape) for name, tensor in stored(module).items() if name not in plain}


def replayed(network: Network, traced: Traced, names: Names, plan: Plan) -> Replayed:
    """The verified cut that the plan means for this model; raises ParameterInvalid, which names what does not fit."""
    architecture = shapes(network.module)
    plan = renumbered(plan, architecture)
    _check_architecture(plan, architecture)
    channels = traced.channels
    leaving = _settled(plan, channels, names)
    bare = plan_of(channels, leaving)
    told = {"attributes": traced.integers.attributes(bare.kept), "shapes": architecture, "heads": plan.heads}
    made = bare.model_copy(update=told)
    for conflict in traced.integers.conflicts(made.kept):
        layers = {
            name
            for number in traced.integers.groups_of(channels, conflict.units)
            for name in names.producers(channels.groups[number])
        }
        raise _refused(f"{', '.join(sorted(layers))}: {conflict.reason}")
    chosen = [number for number, going in leaving.items() if going.any()]
    try:
        cut = checked(network, traced, made, chosen)
        train(network, traced, cut.module)
    except (ForwardFailed, VerificationFailed) as e:
        at_fault = ", ".join(plan.edits) or ", ".join(names.producers(channels.groups[one])[0] for one in chosen)
        raise _refused(f"the model does not work so, of which {at_fault} may be the cause: {e.message}") from e
    return Replayed(cut=cut, counts={id(group): int(leaving[n].sum()) for n, group in enumerate(channels.groups)})


def _check_architecture(plan: Plan, found: Mapping[str, tuple[int, ...]]) -> None:
    if not plan.shapes:
        return
    for name in plan.shapes.keys() | found.keys():
        if name not in found or name not in plan.shapes:
            where = "in the plan only" if name in plan.shapes else "in the model only"
            raise _refused(f"it was made for another architecture: {name} is {where}")
    for name, shape in plan.shapes.items():
        if found[name] != shape:
            raise _refused(
                f"it was made for another architecture: "
                f"{name} has shape {found[name]} in the model, {shape} in the plan"
            )


def _settled(plan: Plan, channels: Channels, names: Names) -> Leaving:
    """Of every group, the units that go: as edited, else as all its tensors say with one voice."""
    removed = _removed(plan, channels)
    edited = _edited(plan, channels, names)
    leaving: Leaving = {}
    for number, group in enumerate(channels.groups):
        leaving[number] = edited[number] if number in edited else _agreed(group, removed, names)
        if leaving[number].all():
            raise _refused(f"nothing is kept of {', '.join(names.producers(group))}")
    free = _free(channels)
    for axis, going in removed.items():
        if (lost := going & ~free[axis]).any():
            layer, position = names.layer_of(axis[0]), int(np.flatnonzero(lost)[0])
            why = _why(channels, axis)
            raise _refused(f"{layer}: position {position} of axis {axis[1]} of {axis[0]} can't go ({why})")
    return leaving


def _removed(plan: Plan, channels: Channels) -> dict[Axis, NDArray[np.bool_]]:
    """Axis -> per position, whether the plan's mapping removes it."""
    found: dict[Axis, NDArray[np.bool_]] = {}
    for tensor, axes in plan.kept.items():
        for number, positions in axes.items():
            size = channels.sizes.get((tensor, number))
            if size is None:
                raise _refused(f"the model has no channels along axis {number} of {tensor}")
            if any(position >= size for position in positions):
                raise _refused(
                    f"{tensor} has {size} positions along axis {number}, and the plan keeps {max(positions)}"
                )
            if len(set(positions)) < len(positions) or list(positions) != sorted(positions):
                raise _refused(f"what is kept along axis {number} of {tensor} must ascend, each position once")
            going = np.ones(size, dtype=bool)
            going[list(positions)] = False
            found[tensor, number] = going
    return found


def _agreed(group: Group, removed: Mapping[Axis, NDArray[np.bool_]], names: Names) -> NDArray[np.bool_]:
    """The units that go, where each of the group's axes says the same of each; raises ParameterInvalid."""
    found: NDArray[np.bool_] | None = None
    first: Axis | None = None
    for axis, slots in group.slots.items():
        lost = removed[axis][slots.position] if axis in removed else np.zeros(slots.position.size, dtype=bool)
        going = np.zeros(group.size, dtype=bool)
        going[slots.unit[lost]] = True
        if found is None or first is None:
            found, first = going, axis
        if not np.array_equal(going[slots.unit], lost) or not np.array_equal(going, found):
            raise _refused(
                f"{names.layer_of(axis[0])}: what it keeps along axis {axis[1]} of {axis[0]} does not agree with axis "
                f"{first[1]} of {first[0]}, which holds the same channels. Use plan.keeping or plan.without, after "
                "which all of them follow"
            )
    return np.zeros(group.size, dtype=bool) if found is None else found


def _edited(plan: Plan, channels: Channels, names: Names) -> Leaving:
    """The units that go of the groups whose layers were edited; raises UnknownLayer, ParameterInvalid."""
    found: Leaving = {}
    said: dict[int, str] = {}
    for layer, kept in plan.edits.items():
        if kept is None:
            tensors = names.tensors([layer], field="plan")
            bundles = {
                group.bundle for group in channels.groups if any(tensor in tensors for tensor, _ in group.producers)
            }
            wanted = {n: np.zeros(g.size, dtype=bool) for n, g in enumerate(channels.groups) if g.bundle in bundles}
        else:
            wanted = _keeping(layer, kept, channels, names)
        if not wanted:
            raise _refused(f"{layer} makes no channels that could go")
        for number, going in wanted.items():
            if number in found and not np.array_equal(found[number], going):
                raise _refused(f"{said[number]} and {layer} share channels, and were edited differently")
            found[number], said[number] = going, layer
    return found


def _keeping(layer: str, kept: tuple[int, ...], channels: Channels, names: Names) -> Leaving:
    axes = outputs(layer, channels, names, field="plan")
    free = _free(channels)
    for axis in axes:
        size = channels.sizes[axis]
        if kept[-1] >= size:
            raise _refused(f"{layer} has {size} output channels, numbered from 0; there is no {kept[-1]}")
        lost = ~np.isin(np.arange(size), kept) & ~free[axis]
        if lost.any():
            raise _refused(f"{layer} can't lose channel {int(np.flatnonzero(lost)[0])} ({_why(channels, axis)})")
    wanted: Leaving = {}
    for number, group in enumerate(channels.groups):
        for axis in axes & group.slots.keys():
            slots = group.slots[axis]
            going = np.ones(group.size, dtype=bool)
            going[slots.unit[np.isin(slots.position, kept)]] = False
            if number in wanted and not np.array_equal(wanted[number], going):
                raise _refused(f"{layer}: its tensors count these channels differently. Name one of its layers")
            wanted[number] = going
    return wanted


def _free(channels: Channels) -> dict[Axis, NDArray[np.bool_]]:
    """Axis -> per position, whether a group holds it."""
    found = {axis: np.zeros(size, dtype=bool) for axis, size in channels.sizes.items()}
    for group in channels.groups:
        for axis, slots in group.slots.items():
            found[axis][slots.position] = True
    return found


def _why(channels: Channels, axis: Axis) -> str:
    return next((entry.reason for entry in channels.frozen if entry.axis == axis), "nothing follows it there")


def _refused(why: str) -> ParameterInvalid:
    return ParameterInvalid(f"The plan does not fit: {why}.", field="plan")
