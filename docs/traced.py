"""Draws docs/pictures/: what the engine says of small models, channel by channel. Run by `make reference`.

Every picture is made from a real trace: which positions belong to which group, and where one channel of each lies.
Nothing is placed by hand but the models below. Weights are drawn by their first two axes, without their kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from coppice import rules
from coppice.channels import Channels, Group
from coppice.tracing import Network, trace
from docs.picture import text

FOLDER = Path(__file__).with_name("pictures")
CELL, STRIP, GAP, TOP = 15, 17, 30, 62
LETTERS = "ABCD"
PALE, STAYS, PAPER = "#dde1e6", "#656d76", "#ffffff"
#: Of the groups A, B, ...: all told from each other, and from the grey of what stays, by lightness too.
COLOURS = ("#d1495b", "#1f6f8b", "#8a5a00", "#5b3d99")


def convolution(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)


class Residual(nn.Module):
    """A sum: what `stem` and `second` make is tied, position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = convolution(2, 5), convolution(5, 4), convolution(4, 5)
        self.out = convolution(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the stem and of two convolutions over it."""
        x = self.stem(x).relu()
        y: Tensor = self.out(x + self.second(self.first(x).relu()))
        return y


class Concatenated(nn.Module):
    """Two lists, one after the other: what reads them has both groups on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = convolution(2, 4), convolution(2, 3), convolution(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Both convolutions' channels, read by one."""
        y: Tensor = self.out(torch.cat([self.left(x).relu(), self.right(x).relu()], 1))
        return y


class Flattened(nn.Module):
    """A map of 2 x 2 for every channel, flattened: a channel is four columns of the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = convolution(2, 4), nn.Linear(16, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The pooled map as a row."""
        y: Tensor = self.fc(nn.functional.adaptive_max_pool2d(self.conv(x).relu(), 2).flatten(1))
        return y


class Depthwise(nn.Module):
    """A depthwise convolution has one filter for each channel that comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depthwise, self.project = convolution(2, 6), convolution(6, 6, 6), convolution(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Wider, each channel by itself, narrower."""
        y: Tensor = self.project(self.depthwise(self.expand(x).relu()).relu())
        return y


class Grouped(nn.Module):
    """A convolution of two groups reads its input in two blocks that have to stay equally wide."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.grouped, self.after = convolution(2, 6), convolution(6, 4, 2), convolution(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Two halves that meet in the last convolution."""
        y: Tensor = self.after(self.grouped(self.before(x).relu()).relu())
        return y


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A model and the sentence that stands in for its picture where none is seen."""

    model: Callable[[], nn.Module]
    told: str


PICTURES = {
    "residual": Drawn(
        model=Residual,
        told="A residual block: a channel of group A is a row of stem and of second, and a column of first and of out",
    ),
    "concat": Drawn(
        model=Concatenated,
        told="A concatenation: the columns of out are those of group A, then those of group B, shifted by four",
    ),
    "flatten": Drawn(
        model=Flattened, told="Flatten: one channel of conv is one of its rows, and four columns side by side of fc"
    ),
    "depthwise": Drawn(
        model=Depthwise,
        told="A depthwise convolution: one channel is a row of expand, a row of depthwise and a column of project",
    ),
    "grouped": Drawn(
        model=Grouped,
        told="A grouped convolution: with a channel of one block goes a channel of the other, so that both stay equal",
    ),
}


def traced(model: nn.Module) -> Channels:
    """What the engine says of a model that reads maps of 4 x 4 with two channels."""
    network = Network(module=model.eval(), inputs=(torch.ones(2, 2, 4, 4),), layers=())
    return trace(network, rules.rule_of).channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """One axis of one tensor: of each position its group, if it has one, and whether it goes in the picture."""

    groups: tuple[int | None, ...]
    gone: frozenset[int]


def marks(channels: Channels, tensor: str, axis: int) -> Marks:
    """Which group every position belongs to, and where the second channel of each group's cells lies."""
    groups: list[int | None] = [None] * channels.sizes[tensor, axis]
    gone = set[int]()
    for number, group in enumerate(channels.groups):
        if (tensor, axis) in group.slots:
            slots, chosen = group.slots[tensor, axis], _chosen(group)
            for unit, position in zip(slots.unit.tolist(), slots.position.tolist(), strict=True):
                groups[position] = number
                if unit in chosen:
                    gone.add(position)
    return Marks(groups=tuple(groups), gone=frozenset(gone))


def _chosen(group: Group) -> set[int]:
    """The second unit of every cell: groups whose cells have to stay equal lose one of each."""
    cells: dict[int, list[int]] = {}
    for unit, cell in enumerate(group.cell.tolist()):
        cells.setdefault(cell, []).append(unit)
    return {units[1] for units in cells.values()}


def drawing(drawn: Drawn) -> str:
    """The picture as one string: the weights side by side, with the groups of their rows and columns around them."""
    channels = traced(drawn.model())
    parts, x, height = list[str](), float(GAP), 0
    for tensor in dict.fromkeys(name for name, _ in channels.sizes):
        rows, columns = marks(channels, tensor, 0), marks(channels, tensor, 1)
        parts += _grid(tensor, x, rows, columns)
        x += STRIP + max(len(columns.groups) * CELL, 7.3 * len(tensor)) + GAP
        height = max(height, TOP + STRIP + len(rows.groups) * CELL)
    for number, group in enumerate(channels.groups):
        goes = "one goes" if len(set(group.cell.tolist())) == 1 else "one of each block"
        said = f"{LETTERS[number]}: {group.size} channels, {goes}"
        parts.append(text(GAP + 210 * number, 24, said, colour=COLOURS[number]))
    width, tall = max(round(x), 520), height + 22
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall}" width="{width}" height="{tall}" '
        f'role="img" aria-label="{drawn.told}"><title>{drawn.told}</title>'
        f'<rect width="{width}" height="{tall}" rx="8" fill="{PAPER}"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _grid(tensor: str, x: float, rows: Marks, columns: Marks) -> Iterator[str]:
    """A weight: its cells, the groups of its rows at the left, those of its columns on top."""
    left, top = x + STRIP, TOP + STRIP
    yield text(x, TOP - 8, tensor)
    for number, group in enumerate(columns.groups):
        yield from _mark(left + number * CELL, TOP, group, gone=number in columns.gone)
    for number, group in enumerate(rows.groups):
        yield from _mark(x, top + number * CELL, group, gone=number in rows.gone)
    for row, of_row in enumerate(rows.groups):
        for column, of_column in enumerate(columns.groups):
            by = of_row if row in rows.gone else of_column if column in columns.gone else None
            yield _cell(left + column * CELL, top + row * CELL, PALE if by is None else COLOURS[by])


def _mark(x: float, y: float, group: int | None, *, gone: bool) -> Iterator[str]:
    """The letter of a position's group, in a box where the position goes; a dot where it stays in any plan."""
    colour = STAYS if group is None else COLOURS[group]
    letter = "·" if group is None else LETTERS[group]
    if gone:
        yield _cell(x, y, colour)
    yield text(x + 3, y + 11, letter, size=11, colour=PAPER if gone else colour)


def _cell(x: float, y: float, colour: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{CELL - 2}" height="{CELL - 2}" rx="2" fill="{colour}"/>'


def draw() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    for name, drawn in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(drawing(drawn))
