"""Slices that are equal shares of an axis: what exporters write for `chunk`, and for queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass

#: More pieces than any layer is chunked into; a slice of one position is an index.
MOST_PIECES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One of several pieces of the same width; the length is that of the whole model."""

    number: int
    pieces: int
    length: int


def share_of(length: int, start: int, end: int, step: int) -> Share | None:
    """The share that a slice is, if it is one: then it stays that share of a narrower axis.

    >>> share_of(48, 24, 2**63 - 1, 1)
    Share(number=1, pieces=2, length=48)
    >>> share_of(48, 0, 20, 1), share_of(48, 0, 48, 1)
    (None, None)
    """
    picked = range(length)[start:end:step]
    width = len(picked)
    if step != 1 or width < 2 or length % width or picked[0] % width or not 2 <= length // width <= MOST_PIECES:
        return None
    return Share(number=picked[0] // width, pieces=length // width, length=length)
