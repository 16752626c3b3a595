"""Draws docs/picture.svg: one channel, and everything that goes with it. Run by `make reference`.

The sizes are drawn, not decoration: a convolution of 8 channels, its batch norm, a convolution of 6 that reads it, and
a skip connection that ties a third convolution to the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("picture.svg")
GONE = 3  # the channel that is removed
CELL = 15
INK, KEPT, CUT = "#24292f", "#a9cfb4", "#d1495b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """One tensor as a grid of cells; the axes that carry the channel are those in `cut`."""

    name: str
    x: int
    y: int
    rows: int
    columns: int
    cut: frozenset[int]  # 0: the channel is a row, 1: a column

    def svg(self) -> Iterable[str]:
        """Its name and its cells."""
        yield text(self.x, self.y - 7, self.name)
        for row in range(self.rows):
            for column in range(self.columns):
                gone = (0 in self.cut and row == GONE) or (1 in self.cut and column == GONE)
                yield (
                    f'<rect x="{self.x + column * CELL}" y="{self.y + row * CELL}" width="{CELL - 2}" '
                    f'height="{CELL - 2}" rx="2" fill="{CUT if gone else KEPT}"/>'
                )


def text(x: float, y: float, words: str, *, size: int = 12, colour: str = INK) -> str:
    return (
        f'<text x="{x}" y="{y}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{size}" '
        f'fill="{colour}">{words}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1} {y1} L{x2} {y2}" stroke="{INK}" stroke-width="1.5" marker-end="url(#tip)" fill="none"/>'


ROWS, COLUMNS = frozenset({0}), frozenset({1})
ARRAYS = (
    Array(name="conv1.weight", x=30, y=75, rows=8, columns=3, cut=ROWS),
    Array(name="bias", x=130, y=75, rows=8, columns=1, cut=ROWS),
    Array(name="bn: weight bias mean var", x=220, y=75, rows=8, columns=4, cut=ROWS),
    Array(name="conv2.weight", x=480, y=90, rows=6, columns=8, cut=COLUMNS),
    Array(name="conv3.weight", x=30, y=260, rows=8, columns=5, cut=ROWS),
    Array(name="fc.weight", x=480, y=290, rows=4, columns=8, cut=COLUMNS),
)
TITLE = "One channel is removed from every array that carries it"
HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" width="640" height="400" role="img" '
    f'aria-label="{TITLE}"><title>{TITLE}</title>'
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs><rect width="640" height="400" rx="8" fill="#ffffff"/>'
)


def picture() -> str:
    """The drawing as one string."""
    middle = 135  # of the upper row
    parts = [
        HEAD,
        text(30, 30, "one channel is one label:", size=14),
        text(245, 30, "what carries it goes, nothing else", size=14, colour=CUT),
        *(line for array in ARRAYS for line in array.svg()),
        arrow(150, middle, 212, middle),
        arrow(285, middle, 472, middle),
        text(296, middle - 8, "relu", size=11),
        arrow(110, 320, 378, 320),
        text(120, 312, "the sum ties conv3 to conv1", size=11),
        f'<circle cx="388" cy="320" r="9" fill="#ffffff" stroke="{INK}" stroke-width="1.5"/>',
        text(384, 324, "+", size=13),
        arrow(388, middle, 388, 309),
        arrow(398, 320, 472, 320),
        text(415, 312, "pool", size=11),
        text(480, 225, "reads the channel:", size=11),
        text(480, 240, "its column goes", size=11),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(picture())
