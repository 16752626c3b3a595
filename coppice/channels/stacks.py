"""Stacks: one axis that holds other channels in each block, as the width of a head does in every head.

Such an axis has labels of its own, and beneath each of them lie the labels of all blocks at that position. Every block
keeps positions of its own, the same number in each. Where an operation takes the positions of the axis for the same
ones in every block (a weight that all heads share), those beneath are tied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Stacks:
    """The labels of stacked axes, and what lies beneath them."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._blocks: list[Ints] = []  # shape (blocks, positions)

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, own: Ints, blocks: Ints) -> None:
        """Lay the rows of `blocks` beneath `own`, which are fresh: larger than all labels before them."""
        self._first.append(int(own[0]))
        self._blocks.append(blocks)

    def table(self, count: int) -> NDArray[np.bool_]:
        """Of `count` labels, which are stacked ones."""
        found = np.zeros(count, dtype=bool)
        for first, blocks in zip(self._first, self._blocks, strict=True):
            found[first : first + blocks.shape[1]] = True
        return found

    def beneath(self, labels: Ints) -> Iterator[tuple[Ints, Ints]]:
        """Of every stack touched: its labels among those given, and what lies beneath, shape (blocks, labels)."""
        stack, position = self._found(labels)
        for number in dict.fromkeys(stack[stack >= 0].tolist()):
            inside = stack == number
            yield labels[inside], self._blocks[number][:, position[inside]]

    def through(self, labels: Ints) -> Ints:
        """The labels of the first block in place of stacked ones: as many of them stay."""
        stack, position = self._found(labels)
        found = labels.copy()
        for number in dict.fromkeys(stack[stack >= 0].tolist()):
            inside = stack == number
            found[inside] = self._blocks[number][0, position[inside]]
        return found

    def _found(self, labels: Ints) -> tuple[Ints, Ints]:
        """The number of each label's stack, or -1, and its position there."""
        if not self._blocks or labels.max(initial=0) < self._first[0]:
            return np.full(labels.shape, -1), labels
        first = np.array(self._first)
        width = np.array([blocks.shape[1] for blocks in self._blocks])
        stack = np.searchsorted(first, labels, side="right") - 1
        position = labels - first[stack]
        stack[(stack >= 0) & (position >= width[stack])] = -1
        return stack, position
