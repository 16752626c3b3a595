"""wishes: what a request says of single layers, brought to groups: ratios of their own, and channels to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels
from coppice.errors import ParameterInvalid
from coppice.steps.account import Names
from coppice.steps.allocate import Fractions
from coppice.steps.make_plan import keeps_output

Axis = tuple[str, int]


def ratios(wanted: Mapping[str, float], channels: Channels, names: Names) -> Fractions:
    """Bundle -> the fraction that the request gives it by a layer's name, prefix or glob.

    Raises UnknownLayer, and ParameterInvalid where two names ask different fractions of channels that go together, or
    where a name asks it of layers that can lose nothing.
    """
    found: dict[int, float] = {}
    said: dict[int, str] = {}
    for name, fraction in wanted.items():
        tensors = names.tensors([name], field="ratios")
        meant = [group for group in channels.groups if keeps_output(group, tensors)]
        if fraction and not meant:
            reasons = sorted({entry.reason for entry in channels.frozen if entry.axis[0] in tensors})
            why = "; ".join(reasons) or "it has no output channels"
            raise ParameterInvalid(f"ratios: {name} can lose no channels ({why}). Leave it out.", field="ratios")
        for group in meant:
            if found.setdefault(group.bundle, fraction) != fraction:
                raise ParameterInvalid(
                    f"ratios: {said[group.bundle]} says {found[group.bundle]:g} and {name} says {fraction:g}, but the "
                    f"channels of {', '.join(names.producers(group)[:3])} can only lose one share. Give both the same.",
                    field="ratios",
                )
            said.setdefault(group.bundle, name)
    return found


def kept(wanted: Mapping[str, Sequence[int]], channels: Channels, names: Names) -> dict[int, NDArray[np.bool_]]:
    """Group -> per unit, whether it holds an output channel that the request keeps.

    Raises UnknownLayer, and ParameterInvalid where a layer has no such channel.
    """
    found: dict[int, NDArray[np.bool_]] = {}
    for name, positions in wanted.items():
        axes = outputs(name, channels, names)
        for number, group in enumerate(channels.groups):
            for axis in axes & group.slots.keys():
                slots = group.slots[axis]
                stay = found.setdefault(number, np.zeros(group.size, dtype=bool))
                stay[slots.unit[np.isin(slots.position, positions)]] = True
        _in_range(name, positions, {channels.sizes[axis] for axis in axes})
    return {number: stay for number, stay in found.items() if stay.any()}


def outputs(name: str, channels: Channels, names: Names, *, field: str = "keep") -> set[Axis]:
    """The axes along which the layers of that name have output channels; raises UnknownLayer, ParameterInvalid."""
    tensors = names.tensors([name], field=field)
    axes = {entry.axis for entry in channels.frozen if entry.axis[0] in tensors}
    for group in channels.groups:
        made = {axis for axis, slots in group.slots.items() if slots.produces or not slots.consumes}
        axes |= {axis for axis in made if axis[0] in tensors}
    lengths = {axis: channels.sizes[axis] for axis in axes}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{tensor} {length}" for (tensor, _), length in lengths.items())
        raise ParameterInvalid(
            f"{field}: the outputs of {name} have several widths ({told}). Name one of its layers.", field=field
        )
    return axes


def _in_range(name: str, positions: Sequence[int], lengths: set[int]) -> None:
    if not lengths:
        raise ParameterInvalid(f"keep: {name} has no output channels. Name a layer that has.", field="keep")
    (length,) = lengths
    if outside := [position for position in positions if not 0 <= position < length]:
        raise ParameterInvalid(
            f"keep: {name} has {length} output channels, numbered from 0; there is no {outside[0]}.", field="keep"
        )
