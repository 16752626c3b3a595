"""What a criterion may look at: the weights, and what passes over the user's samples tell of them.

A pass is made when a criterion first asks for what it finds, once for all groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from coppice.calibration.gradients import NoGradient, Slopes, fisher, slopes
from coppice.calibration.moments import Part, Reading, Region, moments
from coppice.calibration.portion import Portion, portion
from coppice.channels import Group
from coppice.errors import SamplesMissing
from coppice.tracing import Network, stored
from coppice.tracing.samples import Samples


class CannotJudge(Exception):
    """A criterion has nothing to say of a group; the text says why, after "their channels" or the like."""


@dataclass(frozen=True, kw_only=True)
class Information:
    """Fisher information of what readings give, as far as gradients reach it; else the reason why there is none."""

    of: Mapping[Region, torch.Tensor]
    missing: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """A network and its groups, and what is found out about them."""

    network: Network
    groups: tuple[Group, ...]
    seed: int = 0

    @cached_property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """The stored tensors by name."""
        return stored(self.network.module)

    @cached_property
    def generator(self) -> np.random.Generator:
        """Chance, from the request's seed."""
        return np.random.default_rng(self.seed)

    @cached_property
    def samples(self) -> Samples:
        """Those that something may be fitted to; raises SamplesMissing."""
        if self.network.samples is None:
            raise SamplesMissing("There are no samples of the model's inputs to look at.", field="criterion")
        return self.network.samples.split()[0]

    @cached_property
    def portion(self) -> Portion:
        """As many of them as are looked at."""
        return portion(self.network, self.samples)

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """The weights that read the groups' channels, with the moments of what they read."""
        return moments(self.network, self.groups, self.portion)

    @cached_property
    def information(self) -> Information:
        """What an error in the outputs of a reading costs."""
        try:
            return Information(of=fisher(self.network, self.portion, self.seed))
        except NoGradient as e:
            return Information(of={}, missing=str(e))

    @cached_property
    def slopes(self) -> list[Slopes]:
        """By batch, the first-order change of the loss that every produced channel accounts for; raises NoGradient."""
        return slopes(self.network, self.portion, sorted({axis for group in self.groups for axis in group.producers}))

    def readings_of(self, group: Group) -> list[tuple[Reading, Part]]:
        """The readings of a group's channels; raises CannotJudge unless every unit is read."""
        number = next(number for number, one in enumerate(self.groups) if one is group)
        found = [(reading, part) for reading in self.readings for part in reading.parts if part.group == number]
        read = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(part.units.ravel() for _, part in found)]))
        if (read >= 0).sum() < group.size:
            raise CannotJudge("are read by no layer whose weights are stored")
        return found
