"""Means and products of the channels that stored weights read: what of a channel the others can make up for.

A *reading* is one weight together with everything that it ever multiplied. Its channels are numbered by group of the
call (a grouped convolution, a head), and `Part` says which of them are units of which group of channels that may be
pruned. Where a unit has several channels of a reading, as behind a Flatten, and there are too few rows to tell how all
of them depend on each other, the places of a unit count as further rows of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coppice.calibration.portion import Portion
from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.channels import Group
from coppice.tracing import Network, stored

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Rows that a reading looks at: so many, or so many per channel; of more, a random choice.
ROWS, ROWS_PER_CHANNEL = 8192, 4
#: Fewer rows per channel say too little of how all channels of a reading depend on each other.
ENOUGH = 2
#: What all products of channels may take together, float32: 133 million of them. Readings beyond it, in the order of
#: the pass, know their channels one by one only.
BYTES = 512 * 1024**2

#: Which elements of a stored tensor a weight shows, whatever the order of its axes.
Region = tuple[str, int, tuple[tuple[int, int], ...]]


def region(tensor: str, view: Tensor) -> Region:
    """The region that a view of a stored tensor shows; the same for the view and its transpose."""
    axes = zip(view.stride(), view.shape, strict=True)
    return tensor, int(view.storage_offset()), tuple(sorted((step, size) for step, size in axes if step and size > 1))


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """The channels of a reading that are units of one group."""

    group: int
    units: Ints  # for each group of the call: the units that it reads, ascending, -1 at the end; shape (groups, units)
    channels: Ints  # of each unit: its channels, -1 where it has fewer; shape (groups, units, each)
    #: Sums of products over rows and places, of units; None where those of all channels are kept.
    products: Tensor | None = None


@dataclass(eq=False, kw_only=True)
class Reading:
    """A weight that reads channels, and the moments of what it read; shapes (groups, channels)."""

    region: Region
    product: Product  # without what flowed in
    parts: list[Part]
    shift: Tensor  # near the mean, so that sums stay exact
    whole: bool  # whether products of all channels are kept
    seen: int = 0  # rows that there were
    rows: int = 0  # rows that were looked at
    total: Tensor = field(init=False)
    squares: Tensor = field(init=False)
    products: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.total, self.squares = torch.zeros_like(self.shift), torch.zeros_like(self.shift)

    def add(self, rows: Tensor, seen: int) -> None:
        """Rows of shape (groups, rows, channels), chosen from so many."""
        centred = rows.float() - self.shift[:, None].float()
        self.seen, self.rows = self.seen + seen, self.rows + rows.shape[1]
        self.total += centred.sum(1, dtype=torch.float64)
        self.squares += centred.square().sum(1, dtype=torch.float64)
        if self.products is not None:
            self.products.baddbmm_(centred.transpose(1, 2), centred)
        for part in self.parts:
            if part.products is not None:
                gathered = _gathered(centred, part.channels)  # shape (groups, rows, units, each)
                flat = gathered.movedim(3, 1).flatten(1, 2)
                part.products.baddbmm_(flat.transpose(1, 2), flat)

    @cached_property
    def mean(self) -> Floats:
        """Of each channel."""
        return (self.shift + self.total / self.rows).numpy()

    @cached_property
    def mean_square(self) -> Floats:
        """Of each channel, about zero."""
        deviation = self.squares - self.total.square() / self.rows
        return np.asarray(deviation.clamp(min=0).numpy() / self.rows + self.mean**2)

    def covariance(self, part: Part | None = None) -> Floats | None:
        """Of all channels, or of the units of a part over all their places; None where products were not kept."""
        products = self.products if part is None else part.products
        if products is None:
            return None
        total = self.total[:, None] if part is None else _gathered(self.total[:, None], part.channels)[:, 0].mT
        each = 1 if part is None else part.channels.shape[2]
        about = total.mT @ total / self.rows
        return np.asarray((products.double() - about).numpy() / (self.rows * each))


def _gathered(rows: Tensor, channels: Ints) -> Tensor:
    """The channels of every unit, zeros where it has fewer; shape (groups, rows, units, each)."""
    padded = torch.nn.functional.pad(rows, (0, 1))
    places = torch.from_numpy(channels)
    return torch.stack([padded[group][:, places[group]] for group in range(rows.shape[0])])


def moments(network: Network, groups: Sequence[Group], portion: Portion) -> tuple[Reading, ...]:
    """The readings of the units of groups, in the order of the pass; raises ForwardFailed."""
    watch = _Moments(network, groups, portion)
    for batch in portion.batches():
        watch.over(batch.inputs)
    return tuple(reading for reading in watch.readings.values() if reading is not None)


class _Moments(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Adds what flows into products to their readings."""

    def __init__(self, network: Network, groups: Sequence[Group], portion: Portion) -> None:
        super().__init__(network.module)
        self.readings: dict[Region, Reading | None] = {}
        self._shapes = {name: tuple(tensor.shape) for name, tensor in stored(network.module).items()}
        self._groups, self._batches = groups, len(portion)
        self._generator = torch.Generator().manual_seed(0)
        self._left = BYTES // 4

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product, of which the reading takes some rows."""
        key = region(product.tensor, product.weight)
        if key not in self.readings:
            self.readings[key] = self._reading(key, product)
        if (reading := self.readings[key]) is not None:
            rows = product.channels()
            seen, most = rows.shape[1], -(-max(ROWS, ROWS_PER_CHANNEL * rows.shape[2]) // self._batches)
            if seen > most:
                rows = rows[:, torch.randint(seen, (most,), generator=self._generator)]
            reading.add(rows, seen)
        return func(*args, **kwargs)

    def _reading(self, key: Region, product: Product) -> Reading | None:
        places = self._places(product)
        parts = [part for number, group in enumerate(self._groups) if (part := _part(number, group, key[0], places))]
        if not parts:
            return None
        rows = product.channels()
        enough = rows.shape[1] * self._batches >= ENOUGH * rows.shape[2]
        whole = enough or all(part.channels.shape[2] == 1 for part in parts)
        reading = Reading(
            region=key, product=product.bare(), parts=parts, shift=rows.mean(1, dtype=torch.float64), whole=whole
        )
        if whole:
            reading.products = self._room(rows.shape[0], rows.shape[2])
        else:
            for part in parts:
                part.products = self._room(*part.units.shape)
        return reading

    def _room(self, groups: int, channels: int) -> Tensor | None:
        """Zeros for products of channels, while there is room for them."""
        if groups * channels * channels > self._left:
            return None
        self._left -= groups * channels * channels
        return torch.zeros(groups, channels, channels)

    def _places(self, product: Product) -> dict[int, Ints]:
        """Axis of the stored tensor -> the position on it that each channel meets, for axes along which they lie."""
        shape, found = self._shapes[product.tensor], dict[int, Ints]()
        wanted = {axis for group in self._groups for name, axis in group.slots if name == product.tensor}
        for axis in sorted(wanted):
            numbers = torch.arange(shape[axis], dtype=torch.int32)
            laid = numbers.reshape([-1 if place == axis else 1 for place in range(len(shape))]).expand(shape)
            met = product.matrix(self.owners.seen_as(product.weight, laid))
            channels = product.channels().shape[2]
            by_channel = met.reshape(met.shape[0], channels, -1)
            if bool((by_channel == by_channel[:, :, :1]).all()):  # it runs along neither outputs nor offsets
                found[axis] = by_channel[:, :, 0].numpy().astype(np.int64)
        return found


def _part(number: int, group: Group, tensor: str, places: Mapping[int, Ints]) -> Part | None:
    for axis, positions in places.items():
        slots = group.slots.get((tensor, axis))
        if slots is None or (slots.produces and (positions == positions[:, :1]).all()):
            continue  # of a depthwise convolution, or of the heads that a projection makes: they are not read
        unit_at = np.full(max(positions.max(), slots.position.max()) + 1, -1)
        unit_at[slots.position] = slots.unit
        units = unit_at[positions]  # shape (groups, channels)
        if (units >= 0).any():
            return _laid_out(number, units)
    return None


def _laid_out(number: int, units: Ints) -> Part:
    """From the unit of every channel, -1 for those of others, to the channels of every unit."""
    of_groups = [{int(unit): np.flatnonzero(row == unit) for unit in np.unique(row[row >= 0])} for row in units]
    most = max(len(found) for found in of_groups)
    each = max(len(places) for found in of_groups for places in found.values())
    part = Part(
        group=number,
        units=np.full((len(of_groups), most), -1),
        channels=np.full((len(of_groups), most, each), -1),
    )
    for group, found in enumerate(of_groups):
        for place, (unit, channels) in enumerate(found.items()):
            part.units[group, place] = unit
            part.channels[group, place, : channels.size] = channels
    return part
