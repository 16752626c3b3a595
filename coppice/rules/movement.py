"""Operators that only move data: run the operator itself on integer labels and read the axes back.

For every labelled axis of the input, the labels are spread over the tensor's shape (without copying), the operator
moves them, and each axis of the output is asked which labels lie along it. Reshapes are run on the axes that they
really regroup, so that large spatial axes cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from coppice.channels import FIXED, Axes, Labels
from coppice.rules.blocks import distinct_blocks, moving, short, without_repeats
from coppice.tracing.call import Call, Rule, fixed
from coppice.tracing.tracer import refuse

#: Moves one integer tensor as the operator does; gives its outputs.
Move = Callable[[torch.Tensor], Sequence[torch.Tensor]]

#: Chooses, among the axes along which labels lie, the one that carries them; the second argument is their shape.
Carrier = Callable[[Sequence[int], Sequence[int]], int]

#: Inner axes up to this size are taken for spatial blocks (pixel shuffle by hand: 2, 3, 4), not for head widths.
SMALL_BLOCK = 4


def _by_itself(call: Call, labels: Labels, shape: Sequence[int]) -> Sequence[torch.Tensor]:
    """Labels moved by the operator itself."""
    name = next(name for name, value in call.arguments.items() if isinstance(value, torch.Tensor))
    rest = {key: value for key, value in call.arguments.items() if key != name}
    result = call.op(**{name: torch.from_numpy(labels).expand(tuple(shape))}, **rest)
    return [result] if isinstance(result, torch.Tensor) else list(result)


@moving(_by_itself)
def moved(call: Call) -> Sequence[Axes]:
    """Any operator with one tensor argument that copies, drops or repeats positions."""
    name = next(name for name, value in call.arguments.items() if isinstance(value, torch.Tensor))
    rest = {key: value for key, value in call.arguments.items() if key != name}

    def move(labels: torch.Tensor) -> Sequence[torch.Tensor]:
        result = call.op(**{name: labels}, **rest)
        return [result] if isinstance(result, torch.Tensor) else list(result)

    return read_back(call, call.axes(name), move, [tuple(output.shape) for output in call.outputs], outermost)


def read_back(call: Call, axes: Axes, move: Move, shapes: Sequence[Sequence[int]], carrier: Carrier) -> list[Axes]:
    """Move the labels of each axis; give the axes of each output.

    Labels that lie along several output axes (a split axis) are carried by one of them, which `carrier` chooses among
    their sizes; the others stay fixed and what must remain rectangular is tied.
    """
    results = [list(fixed(shape)) for shape in shapes]
    for axis, labels in enumerate(axes):
        if not labels.any():
            continue
        # As float64, which holds every label exactly: some operators (im2col) refuse integers.
        spread = torch.from_numpy(labels).double().reshape([-1 if a == axis else 1 for a in range(len(axes))])
        outputs = [without_repeats(out) for out in move(spread.expand([length.size for length in axes]))]
        seen = np.unique(np.concatenate([out.ravel() for out in outputs])) if outputs else np.zeros(0)
        if np.setdiff1d(labels, seen).size:
            call.ledger.fix(labels, "cut at a position that the code names")
        padded = bool((labels != FIXED).all())  # then a FIXED in an output is a zero that the operator put there
        for result, moved_labels in zip(results, outputs, strict=True):
            _assign(call, result, moved_labels, carrier, padded=padded)
    return [tuple(result) for result in results]


def _assign(call: Call, result: list[Labels], labels: Labels, carrier: Carrier, *, padded: bool) -> None:
    along = [axis for axis in range(labels.ndim) if labels.shape[axis] > 1 and _varies(labels, axis)]
    if not along:
        only = "the only channel of its axis" if labels.size == 1 else "all channels of its axis go or stay together"
        call.ledger.fix(labels.ravel()[:1], only)
        return
    chosen = carrier(along, labels.shape)
    by_position = np.moveaxis(labels, chosen, -1).reshape(-1, labels.shape[chosen])
    line = by_position.max(axis=0) if padded else by_position[0].copy()
    if len(along) > 1:
        distinct = np.unique(by_position, axis=0)
        if padded:
            distinct = np.where(distinct == FIXED, line, distinct)
        call.ledger.tie(np.tile(line, len(distinct)), distinct.ravel())
    result[chosen] = _wider(call, result[chosen], line) if result[chosen].any() else line


def _wider(call: Call, first: Labels, second: Labels) -> Labels:
    """Of two axes merged into one, the one with more units: channels, not a kernel; hidden units, not experts."""
    keeps, leaves = sorted((first, second), key=lambda labels: -np.unique(labels[labels != FIXED]).size)
    call.ledger.fix(leaves, "merged with another axis that may be pruned")
    return keeps


def _varies(labels: Labels, axis: int) -> bool:
    first = labels.take([0], axis=axis)
    return bool((labels != first).any())


def outermost(along: Sequence[int], _: Sequence[int]) -> int:
    """The first of the axes that a split gives: what pixel shuffle leaves of the channels."""
    return along[0]


def innermost(along: Sequence[int], shape: Sequence[int]) -> int:
    """The last of the axes that a split gives (the width of a head), unless it is a small spatial block."""
    return along[-1] if shape[along[-1]] > SMALL_BLOCK else max(along, key=lambda axis: shape[axis])


def around(along: Sequence[int], shape: Sequence[int]) -> int:
    """The axis around the last one (the heads), unless that one is a small spatial block."""
    return along[-2] if len(along) > 1 and shape[along[-1]] > SMALL_BLOCK else innermost(along, shape)


def followed(carrier: Carrier, literal: Collection[int]) -> Carrier:
    """A carrier among the axes whose size the code does not give as a mere number, if there are any."""

    def chosen(along: Sequence[int], shape: Sequence[int]) -> int:
        return carrier([axis for axis in along if axis not in literal] or along, shape)

    return chosen


def _regrouped(call: Call, labels: Labels, shape: Sequence[int]) -> Sequence[torch.Tensor]:
    """Labels reshaped, of size 1 still on axes that stay and along which nothing changes."""
    before, after = list[int](), list[int]()
    for old, new in segments(shape, tuple(call.outputs[0].shape)):
        stays = all(length == 1 for length in labels.shape[old])
        before += [1] * (old.stop - old.start) if stays else shape[old]
        after += [1] * (new.stop - new.start) if stays else call.outputs[0].shape[new]
    return [torch.from_numpy(labels).expand(before).reshape(after)]


@moving(_regrouped)
def reshaped(call: Call) -> Sequence[Axes]:
    """view, reshape, flatten: run on each run of axes that the shapes regroup."""
    axes, shape = call.axes("self"), tuple(call.outputs[0].shape)
    if 0 in shape:
        return _reshaped_empty(call, axes, shape)
    return [_by_segment(call, axes, shape)]


def _reshaped_empty(call: Call, axes: Axes, shape: Sequence[int]) -> Sequence[Axes]:
    """No box was found, say: as if there had been one. What is merged with the empty axis is gone with it."""
    solid = [labels if labels.size else fixed([1])[0] for labels in axes]
    rest = math.prod(length for length in shape if length)
    merged = math.prod(labels.size for labels in solid) // rest
    full = [length or (merged if axis == shape.index(0) else 1) for axis, length in enumerate(shape)]
    if merged * rest != math.prod(labels.size for labels in solid):
        return refuse(call)
    result = _by_segment(call, tuple(solid), full)
    for labels, length in zip(result, shape, strict=True):
        if not length:
            call.ledger.fix(labels, "merged with an axis that is empty on the example input")
    return [tuple(labels[:length] for labels, length in zip(result, shape, strict=True))]


def _by_segment(call: Call, axes: Axes, shape: Sequence[int]) -> Axes:
    result: list[Labels] = []
    for before, after in segments(tuple(labels.size for labels in axes), shape):
        part, target = axes[before], shape[after]
        if len(part) == 1 and len(target) == 1:
            result += part
            continue
        carrier = followed(around if call.whole_heads else innermost, {axis - after.start for axis in call.literal})
        if (heads := _heads(part, target, carrier)) is None:
            result += read_back(call, part, partial(_to, target), [target], carrier)[0]
            continue
        width, labels, blocks = heads
        result += fixed(target)
        result[after.start + width] = call.ledger.stack(blocks)
        ranked = labels.reshape((1,) * after.start + labels.shape + (1,) * (len(shape) - after.stop))
        call.keep(call.outputs[0], {after.start + width: ranked})
    return tuple(result)


def _heads(part: Sequence[Labels], target: Sequence[int], carrier: Carrier) -> tuple[int, Labels, Labels] | None:
    """Where one axis is split into heads of some width: the axis of the width, all labels, and those of each head."""
    labelled = [axis for axis, labels in enumerate(part) if labels.any()]
    if len(labelled) != 1 or len(target) == 1:
        return None
    (axis,) = labelled
    spread = torch.from_numpy(part[axis]).reshape([-1 if a == axis else 1 for a in range(len(part))])
    labels = short(spread.expand([one.size for one in part]).reshape(tuple(target)))
    along = [place for place, length in enumerate(labels.shape) if length > 1]
    if len(along) < 2 or target[along[-1]] <= SMALL_BLOCK or carrier(along, target) != along[-1]:
        return None
    blocks = distinct_blocks(labels, along[-1])
    return None if blocks is None else (along[-1], labels, blocks)


def _to(shape: Sequence[int], labels: torch.Tensor) -> Sequence[torch.Tensor]:
    return [labels.reshape(tuple(shape))]


def segments(before: Sequence[int], after: Sequence[int]) -> list[tuple[slice, slice]]:
    """The shortest runs of axes whose sizes multiply to the same number on both sides.

    >>> segments((2, 64, 7, 7), (2, 3136))
    [(slice(0, 1, None), slice(0, 1, None)), (slice(1, 4, None), slice(1, 2, None))]
    """
    ends = [(0, 0)]
    i = j = 0
    left = right = 1
    while i < len(before) or j < len(after):
        if (left <= right and i < len(before)) or j == len(after):
            left, i = left * before[i], i + 1
        else:
            right, j = right * after[j], j + 1
        if left == right and i > ends[-1][0] and j > ends[-1][1]:
            ends.append((i, j))
            left = right = 1
    if ends[-1] != (i, j):  # trailing axes of size 1 belong to the last run
        ends[-1] = (i, j)
    return [(slice(a, c), slice(b, d)) for (a, b), (c, d) in pairwise(ends)] or [(slice(0, i), slice(0, j))]


@moving(_by_itself)
def expanded(call: Call) -> Sequence[Axes]:
    """expand: a stretched axis holds one value, so its positions are free to follow what they meet."""
    axes, shape = call.axes("self"), call.outputs[0].shape
    result: list[Labels] = []
    for place, length in enumerate(shape):
        source = place - (len(shape) - len(axes))
        if source >= 0 and axes[source].size == length:
            result.append(axes[source])
            continue
        if source >= 0:
            call.ledger.fix(axes[source], "a single position spread over an axis")
        result.append(call.ledger.fresh(length))
    return [tuple(result)]


def repeated(call: Call) -> Sequence[Axes]:
    """repeat: copies of a single position are free to follow what they meet, as in expand."""
    before, (after,) = call.axes("self"), moved(call)
    result = list(after)
    for place, times in enumerate(reversed(call["repeats"]), 1):
        if times > 1 and (place > len(before) or before[-place].size == 1):
            result[-place] = call.ledger.fresh(times)
    return [tuple(result)]


@moving(_by_itself)
def permuted(call: Call) -> Sequence[Axes]:
    """t, transpose, permute: the same axes in another order, those of a single position too."""
    axes = call.axes("self")
    lengths = range(1, len(axes) + 1)  # of which no two are the same
    (example,) = _by_itself(call, np.zeros([1] * len(axes), dtype=np.int64), lengths)
    return [tuple(axes[length - 1] for length in example.shape)]


@moving(_by_itself)
def pieces(call: Call) -> Sequence[Axes]:
    """split, chunk: equal pieces stay equally wide; the sizes of unequal ones are the code's."""
    axes = call.axes("self")
    dim = call["dim"] % len(axes)
    ends = np.cumsum([output.shape[dim] for output in call.outputs])
    pieces = np.split(axes[dim], ends[:-1])
    if len({piece.size for piece in pieces}) == 1:
        call.ledger.balance(pieces)
    return [(*axes[:dim], piece, *axes[dim + 1 :]) for piece in pieces]


@moving(_by_itself)
def sliced(call: Call) -> Sequence[Axes]:
    """slice: what is taken passes; where it ends is the code's. Every k-th position: each k of them are one unit."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    labels, step = axes[dim], call["step"]
    if step > 1 and labels.any():
        if labels.size % step:
            call.ledger.fix(labels, "every k-th position of an axis that k does not divide")
        by_step = labels[: labels.size // step * step].reshape(-1, step)
        for other in by_step.T[1:]:
            call.ledger.tie(by_step.T[0], other)
    axes[dim] = labels[slice(call["start"], call["end"], step)]
    return [tuple(axes)]


def shuffled(call: Call) -> Sequence[Axes]:
    """channel_shuffle: the groups stay equally wide, so position i of each is one unit."""
    channels = call.axes("self")[1]
    by_group = channels.reshape(call["groups"], -1)
    for other in by_group[1:]:
        call.ledger.tie(by_group[0], other)
    return moved(call)


def strided(call: Call) -> Sequence[Axes]:
    """as_strided: run on labels that lie in memory as the tensor does."""
    x, start = call["self"], call["storage_offset"]

    def move(labels: torch.Tensor) -> Sequence[torch.Tensor]:
        lying = torch.empty_strided(x.shape, x.stride(), dtype=labels.dtype).copy_(labels)
        return [lying.as_strided(call["size"], call["stride"], 0 if start is None else start - x.storage_offset())]

    return read_back(call, call.axes("self"), move, [tuple(call.outputs[0].shape)], outermost)


def rolled(call: Call) -> Sequence[Axes]:
    """roll: the distance counts positions, so a rolled axis is fixed."""
    axes = call.axes("self")
    dims = [d % len(axes) for d in call["dims"]] or range(len(axes))
    for dim in dims:
        call.ledger.fix(axes[dim], "rolled by a number of positions")
    return [tuple(np.full_like(x, FIXED) if a in dims else x for a, x in enumerate(axes))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias"), reshaped),
    **dict.fromkeys(("aten::expand", "aten::expand_as"), expanded),
    **dict.fromkeys(
        (
            "aten::split",
            "aten::split_with_sizes",
            "aten::chunk",
            "aten::split_copy",
            "aten::split_with_sizes_copy",
            "aten::unsafe_chunk",
            "aten::unsafe_split",
        ),
        pieces,
    ),
    **dict.fromkeys(("aten::channel_shuffle", "aten::native_channel_shuffle"), shuffled),
    **dict.fromkeys(("aten::permute", "aten::t", "aten::transpose"), permuted),
    "aten::as_strided": strided,
    "aten::repeat": repeated,
    "aten::roll": rolled,
    "aten::slice": sliced,
    **dict.fromkeys(
        (
            "aten::diagonal",
            "aten::flip",
            "aten::im2col",
            "aten::pixel_shuffle",
            "aten::pixel_unshuffle",
            "aten::select",
            "aten::squeeze",
            "aten::unbind",
            "aten::unfold",
            "aten::unsqueeze",
        ),
        moved,
    ),
}
