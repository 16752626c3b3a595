"""Equal shares: blocks of positions of which the same share has to stay, without saying which positions.

The halves of a chunk, the groups of a group norm or of a grouped convolution's outputs, and axes whose length the code
takes for that of another one. Units that no constraint tells apart are a cell; cells that constraints hold together
are a bundle, with one linear equation per pair of blocks for the numbers that may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]

FIXED = 0

#: A bundle that can lose every multiple of this share of each of its cells needs no equations to be solved.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Cells that constraints hold together.

    What may go of them, `removed` of shape (cells,), satisfies `equations @ removed == 0` and
    `occupancy @ removed < lengths`, so that no block becomes empty. With a `fineness` above 0 every cell of n units can
    simply lose k * n / fineness of them, the same k for all.
    """

    cells: Ints  # numbers, shape (cells,)
    sizes: Ints  # units in each, shape (cells,)
    equations: Ints  # shape (pairs of blocks, cells)
    occupancy: Ints  # positions that a unit of the cell has in the block, shape (blocks, cells)
    lengths: Ints  # shape (blocks,)
    fineness: int


class Units(NamedTuple):
    """What constraints ask of the units: which one a label is of, and per unit whether it may go, and its family.

    A `loose` unit lies on no stored tensor: whatever is tied to it, it follows.
    """

    of: Ints
    free: NDArray[np.bool_]
    loose: NDArray[np.bool_]
    family: Ints


def held_back(shares: Sequence[EqualShares], units: Units) -> list[tuple[Ints, str]]:
    """The free positions of blocks that must keep as much as one which stays whole, with the reason."""
    return [
        (block[units.free[units.of[block]]], one.reason)
        for one in shares
        if any(not units.free[inside].any() for inside in _binding(one, units))
        for block in one.blocks
        if units.free[units.of[block]].any()
    ]


def cells(shares: Sequence[EqualShares], units: Units) -> tuple[Ints, Ints, dict[int, Bundle]]:
    """The cell of every unit, the bundle of every unit by number, and the bundles that constraints bind."""
    binding = [blocks for one in shares if (blocks := _binding(one, units))]
    cell = _refined(binding, units.family)
    sizes = np.bincount(cell[units.free], minlength=cell.max(initial=0) + 1)
    held = [np.unique(cell[unit[units.free[unit]]]) for unit in map(np.concatenate, binding)]
    bundle_of = _joined(sizes.size, held)
    by_bundle: dict[int, list[list[Ints]]] = {}
    for blocks, inside in zip(binding, held, strict=True):
        by_bundle.setdefault(int(bundle_of[inside[0]]), []).append(blocks)
    bundles: dict[int, Bundle] = {}
    for number, constraints in by_bundle.items():
        inside = np.flatnonzero((bundle_of == number) & (sizes > 0))
        bundles[number] = _bundle(inside, sizes[inside], constraints, cell, units)
    return cell, bundle_of[cell], bundles


def _bundle(inside: Ints, sizes: Ints, constraints: Sequence[Sequence[Ints]], cell: Ints, units: Units) -> Bundle:
    place = np.full(cell.max() + 1, -1)
    place[inside] = np.arange(inside.size)
    equations, occupancy, lengths = [], [], []
    for blocks in constraints:
        rows = [np.zeros(inside.size, dtype=np.int64) for _ in blocks]
        for row, block in zip(rows, blocks, strict=True):
            unit, count = np.unique(block[units.free[block]], return_counts=True)
            row[place[cell[unit]]] = count  # all units of a cell are equally often in a block
        size = [block.size for block in blocks]
        equations += [
            (size[0] * row - n * rows[0]) // gcd(n, size[0]) for row, n in zip(rows[1:], size[1:], strict=True)
        ]
        occupancy += rows
        lengths += size
    fineness = int(np.gcd.reduce(sizes))
    whole = all(units.free[block].all() for blocks in constraints for block in blocks)
    return Bundle(
        cells=inside,
        sizes=sizes,
        equations=np.stack(equations),
        occupancy=np.stack(occupancy),
        lengths=np.array(lengths),
        fineness=fineness if whole and fineness >= FINE_ENOUGH else 0,
    )


def _binding(one: EqualShares, units: Units) -> list[Ints]:
    """The units of the blocks, position by position; empty when there is nothing to keep equal."""
    blocks = [unit for block in one.blocks if not units.loose[unit := units.of[block]].all()]
    if len(blocks) < 2 or not any(units.free[block].any() for block in blocks):
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
