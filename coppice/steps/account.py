"""The words of the report for groups and frozen channels, and the layers that a user may name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np

from coppice.channels import Channels, Group
from coppice.errors import UnknownLayer
from coppice.records.report import FrozenReport, GroupReport
from coppice.tracing import Network, stored

#: Names listed in an error before it says "and N more".
LISTED = 60


class Names:
    """From stored tensors to the layers that own them, under the names that the user gave them."""

    def __init__(self, network: Network) -> None:
        self.layers = network.layers
        self._by_path = {layer.path: layer.name for layer in network.layers}
        self._tensors = {name: name.rpartition(".")[0] for name in stored(network.module)}

    def layer_of(self, tensor: str) -> str:
        """Name of the layer that owns a tensor; a tensor of the model itself is its own name."""
        path = self._tensors[tensor]
        return self._by_path.get(path) or (path if path else tensor)

    def producers(self, group: Group) -> tuple[str, ...]:
        """The layers that make a group's channels, in the model's order."""
        return tuple(dict.fromkeys(self.layer_of(tensor) for tensor, _ in group.producers))

    def tensors(self, names: Iterable[str], field: str = "ommitted") -> set[str]:
        """The tensors of the layers that the names, prefixes and globs mean; raises UnknownLayer."""
        found: set[str] = set()
        for name in names:
            paths = [layer.path for layer in self.layers if _means(name, layer.name)]
            if not paths:
                raise UnknownLayer(self._unknown(name), field=field)
            found |= {
                tensor
                for tensor, owner in self._tensors.items()
                if any(owner == path or owner.startswith(f"{path}.") for path in paths)
            }
        return found

    def _unknown(self, name: str) -> str:
        names = [layer.name for layer in self.layers if layer.name]
        close = get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
        return f"The model has no layer {name!r}.{hint} It has: {', '.join(names[:LISTED])}{more}."


def _means(pattern: str, name: str) -> bool:
    return pattern == name or name.startswith((f"{pattern}.", f"{pattern}/")) or fnmatchcase(name, pattern)


class Removal(Protocol):
    """How many units of each group go, and why not as many as were asked."""

    def asked(self, group: Group) -> int:
        """Units that were asked to go."""

    def total(self, group: Group) -> int:
        """Units that go."""

    def why(self, group: Group) -> str | None:
        """Why that is another number; None where it isn't."""


def groups(
    channels: Channels, names: Names, allocation: Removal, cut: Collection[int], reasons: Mapping[int, str]
) -> tuple[GroupReport, ...]:
    """One line per group: what was asked of it, what was removed, and why another number than that."""
    lines = []
    first = Counter(names.producers(group)[0] for group in channels.groups)
    for number, group in enumerate(channels.groups):
        layers = names.producers(group)
        lines.append(
            GroupReport(
                name=layers[0] + (_part(group) if first[layers[0]] > 1 else ""),
                layers=layers,
                channels=group.size,
                asked=allocation.asked(group),
                removed=allocation.total(group) if number in cut else 0,
                reason=allocation.why(group) if number in cut else reasons.get(number),
            )
        )
    return tuple(lines)


def _part(group: Group) -> str:
    """Which of the layer's channels the group holds, as Python would slice them: queries and keys, say, or values.

    Where they lie apart, from the first to the last.
    """
    positions = np.unique(group.slots[group.producers[0]].position)
    steps = np.unique(np.diff(positions))
    step = f":{steps[0]}" if steps.size == 1 and steps[0] > 1 else ""
    return f"[{positions[0]}:{positions[-1] + 1}{step}]"


def frozen(channels: Channels, names: Names) -> tuple[FrozenReport, ...]:
    """The channels that no plan may remove, by layer and reason."""
    return tuple(
        FrozenReport(layers=(names.layer_of(entry.axis[0]),), channels=entry.count, reason=entry.reason)
        for entry in channels.frozen
    )
