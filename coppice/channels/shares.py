"""Equal shares: blocks of positions of which the same share has to stay, without saying which positions.

The halves of a chunk, the groups of a group norm or of a grouped convolution, and axes whose length the code takes for
that of another one. Where shares can't be kept equal, a constraint falls back: blocks of one length are tied position
by position, others stay whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]

FIXED = 0

#: A share is removed in steps of 1/fineness; coarser than this, ties serve a user's `percent` better.
FINE_ENOUGH = 8


def tied(a: Ints, b: Ints) -> tuple[tuple[Ints, Ints], Ints]:
    """The pairs of labels that become one unit, and the labels that stay because their partner is FIXED."""
    free = (a != FIXED) & (b != FIXED)
    alone = np.concatenate([a[b == FIXED], b[a == FIXED]])
    return (a[free], b[free]), alone[alone != FIXED]


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualShares:
    """Label vectors of which the same share stays."""

    blocks: tuple[Ints, ...]
    reason: str

    @property
    def tieable(self) -> bool:
        """Whether tying the blocks position by position does the same, with less freedom."""
        return all(block.size == self.blocks[0].size for block in self.blocks)

    def fallback(self) -> tuple[list[tuple[Ints, Ints]], list[tuple[Ints, str]]]:
        """The ties that give equal shares, or the fixes where lengths differ: of nothing, every share is equal."""
        if not self.tieable:
            return [], [(block[block != FIXED], self.reason) for block in self.blocks]
        ties, fixes = [], []
        for other in self.blocks[1:]:
            tie, held = tied(self.blocks[0], other)
            ties.append(tie)
            fixes.append((held, self.reason))
        return ties, fixes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A partition of the units: of every cell the same number of units goes, at one share per bundle of cells.

    `cell[unit]`, `bundle[unit]` and `fineness[unit]`: a cell of n units loses k * n / fineness of them, the same k for
    every cell of the bundle.
    """

    cell: Ints
    bundle: Ints
    fineness: Ints


class Units(NamedTuple):
    """What constraints ask of the units: which one a label is of, and per unit whether it may go, and its family.

    A `loose` unit lies on no stored tensor: whatever is tied to it, it follows.
    """

    of: Ints
    free: NDArray[np.bool_]
    loose: NDArray[np.bool_]
    family: Ints


def unsatisfied(shares: Sequence[EqualShares], units: Units) -> list[EqualShares]:
    """Those that bind some positions which may go to others that stay."""
    return [one for one in shares if (blocks := _binding(one, units)) and not units.free[np.concatenate(blocks)].all()]


def cells(shares: Sequence[EqualShares], units: Units) -> tuple[Cells, list[EqualShares]]:
    """The partition that satisfiable constraints make of the families, and those that are too coarse to serve."""
    binding = [(one, blocks) for one in shares if (blocks := _binding(one, units))]
    cell = _refined([blocks for _, blocks in binding], units.family)
    sizes = np.bincount(cell[units.free], minlength=cell.max(initial=0) + 1)
    held = [np.unique(cell[np.concatenate(blocks)]) for _, blocks in binding]
    bundle = _joined(sizes.size, held)
    fineness, smallest = np.zeros_like(sizes), np.zeros_like(sizes)
    for number in np.unique(bundle):
        inside = sizes[(bundle == number) & (sizes > 0)]
        if inside.size:
            fineness[number], smallest[number] = np.gcd.reduce(inside), inside.min()
    coarse = [
        one
        for (one, _), inside in zip(binding, held, strict=True)
        if fineness[bundle[inside[0]]] < min(FINE_ENOUGH, smallest[bundle[inside[0]]])
    ]
    return Cells(cell=cell, bundle=bundle[cell], fineness=fineness[bundle[cell]]), coarse


def _binding(one: EqualShares, units: Units) -> list[Ints]:
    """The units of the blocks, position by position; empty when there is nothing to keep equal."""
    blocks = [unit for block in one.blocks if not units.loose[unit := units.of[block]].all()]
    if len(blocks) < 2:
        return []
    first = np.sort(blocks[0])
    return [] if all(np.array_equal(np.sort(block), first) for block in blocks[1:]) else blocks


def _refined(binding: Sequence[Sequence[Ints]], family: Ints) -> Ints:
    """Number the units so that equal numbers mean: of one family, and equally often in every block."""
    random = np.random.default_rng(1)  # a sum of random words tells multisets of blocks apart
    word = np.zeros_like(family)
    for blocks in binding:
        for block in blocks:
            np.add.at(word, block, random.integers(1, 2**62))
    cell: Ints = np.unique(np.stack([family, word]), axis=1, return_inverse=True)[1]
    return cell.reshape(-1)


def _joined(count: int, sets: Sequence[Ints]) -> Ints:
    pairs = [pair for members in sets for pair in pairwise(members.tolist())]
    if not pairs:
        return np.arange(count)
    a, b = np.array(pairs).T
    joined: Ints = connected_components(coo_matrix((np.ones(a.size), (a, b)), shape=(count, count)), directed=False)[1]
    return joined.astype(np.int64)
