"""Operators that only move data. Sizes come as plain numbers, so that they follow a cut."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.shares import share_of
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text


@operator("Identity")
def identity(_node: OnnxNode, x: Tensor) -> Tensor:
    """The tensor itself."""
    return x


@operator("Shape")
def shape(node: OnnxNode, x: Tensor) -> list[int]:
    """The sizes, as plain numbers; from version 15 on some of them."""
    sizes: list[int] = list(x.shape)
    return sizes[node.attribute("start", 0) : node.attribute("end", len(sizes))]


@operator("Size")
def size(_node: OnnxNode, x: Tensor) -> int:
    """How many values there are, as a plain number."""
    return math.prod(x.shape)


@operator("Reshape", numbers=(1,))
def reshape(node: OnnxNode, x: Tensor, sizes: list[int] | None = None) -> Tensor:
    """To other sizes: 0 takes that of the same axis, unless `allowzero`."""
    wanted: list[int] = list(node.option("shape", sizes))
    if not node.attribute("allowzero", 0):
        wanted = [x.shape[axis] if number == 0 else number for axis, number in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def flatten(node: OnnxNode, x: Tensor) -> Tensor:
    """To a matrix: the axes before `axis`, and the others."""
    axis = node.attribute("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    if axis == 1:
        return x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Transpose")
def transpose(node: OnnxNode, x: Tensor) -> Tensor:
    """The axes in another order, reversed where the node says none."""
    return x.permute(list(node.attribute("perm") or reversed(range(x.dim()))))


@operator("Squeeze", numbers=(1,))
def squeeze(node: OnnxNode, x: Tensor, given: list[int] | None = None) -> Tensor:
    """Without some axes of size one, or without all of them."""
    stated = node.option("axes", given)
    if stated is None:
        return x.squeeze()
    for axis in sorted((axis % x.dim() for axis in _listed(stated)), reverse=True):
        x = x.squeeze(axis)
    return x


@operator("Unsqueeze", numbers=(1,))
def unsqueeze(node: OnnxNode, x: Tensor, given: list[int] | None = None) -> Tensor:
    """With new axes of size one, numbered as in the result."""
    stated = _listed(node.option("axes", given))
    rank = x.dim() + len(stated)
    for axis in sorted(axis % rank for axis in stated):
        x = x.unsqueeze(axis)
    return x


@operator("Expand", numbers=(1,))
def expand(_node: OnnxNode, x: Tensor, sizes: list[int]) -> Tensor:
    """Spread over larger sizes; 1 leaves an axis as it is."""
    rank = max(x.dim(), len(sizes))
    own, wanted = [1] * (rank - x.dim()) + list(x.shape), [1] * (rank - len(sizes)) + list(sizes)
    return x.expand([have if want == 1 else want for have, want in zip(own, wanted, strict=True)])


@operator("Tile", numbers=(1,))
def tile(_node: OnnxNode, x: Tensor, repeats: list[int]) -> Tensor:
    """Repeated along every axis."""
    return x.repeat(repeats)


@operator("Concat")
def concat(node: OnnxNode, *tensors: Tensor) -> Tensor:
    """One after the other."""
    return torch.cat(tensors, node.attribute("axis", 0))


@operator("Split", numbers=(1,))
def split(node: OnnxNode, x: Tensor, given: list[int] | None = None) -> Any:
    """Into pieces: equal ones are as large as the tensor makes them, whatever the node states."""
    axis = node.attribute("axis", 0)
    stated = node.option("split", given)
    if stated is None or len(set(stated)) == 1:
        count = node.attribute("num_outputs", node.wanted) if stated is None else len(stated)
        each = -(-x.shape[axis] // count)
        sizes = [*[each] * (count - 1), x.shape[axis] - each * (count - 1)]
        if stated is not None:
            node.stated["split" if given is None else 1] = sizes
        return x.split_with_sizes(sizes, axis)
    return x.split_with_sizes(list(stated), axis)


@operator("Slice", numbers=(1, 2, 3, 4))
def slice_(
    node: OnnxNode,
    x: Tensor,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
    steps: list[int] | None = None,
) -> Tensor:
    """A part of some axes; all but the steps were attributes before version 10."""
    starts, ends = _listed(node.option("starts", starts)), _listed(node.option("ends", ends))
    axes = _listed(node.option("axes", axes, list(range(len(starts)))))
    steps = _listed(steps) if steps is not None else [1] * len(starts)
    if node.remembered is None:
        node.remembered = [
            share_of(x.shape[axis], *part) for axis, *part in zip(axes, starts, ends, steps, strict=True)
        ]
    first, last = list(starts), list(ends)
    for place, (axis, share) in enumerate(zip(axes, node.remembered, strict=True)):
        if share is None:
            x = _sliced(x, axis % x.dim(), starts[place], ends[place], steps[place])
            continue
        length, width = x.shape[axis], x.shape[axis] // share.pieces
        if length != share.length:  # narrower than the whole model: what the node states is, too
            first[place], last[place] = share.number * width, (share.number + 1) * width
        x = x.split_with_sizes([width] * share.pieces, axis)[share.number]
    node.stated.update({_place(node, "starts", 1): first, _place(node, "ends", 2): last})
    return x


def _place(node: OnnxNode, name: str, position: int) -> str | int:
    return position if len(node.given) > position else name


def _sliced(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    length = x.shape[axis]
    if step > 0:
        if (start == 0 or start <= -length) and end >= length and step == 1:
            return x
        # Counted from the end, a bound is no size that could follow a cut.
        first, last = (bound if bound >= 0 else int(bound) for bound in (start, end))
        return x[(slice(None),) * axis + (slice(first, last, step),)]
    picked = range(length)[slice(start, None if end < -length else end, step)]
    if len(picked) == length:
        return x.flip(axis)
    return x.index_select(axis, torch.tensor(list(picked), dtype=torch.int64, device=x.device))


@operator("DepthToSpace")
def depth_to_space(node: OnnxNode, x: Tensor) -> Tensor:
    """Channels become blocks of pixels; the block's place is the outer or the inner part of a channel's number."""
    block = node.attribute("blocksize")
    batch, channels, height, width = x.shape
    if text(node.attribute("mode", "DCR")) == "CRD":
        return torch.pixel_shuffle(x, block)
    split_up = x.reshape(batch, block, block, channels // (block * block), height, width)
    return split_up.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


@operator("SpaceToDepth")
def space_to_depth(node: OnnxNode, x: Tensor) -> Tensor:
    """Blocks of pixels become channels; the block's place is the outer part of a channel's number, or the inner."""
    block = node.attribute("blocksize")
    batch, channels, height, width = x.shape
    split_up = x.reshape(batch, channels, height // block, block, width // block, block)
    crd = text(node.attribute("mode", "DCR")) == "CRD"
    return split_up.permute(0, *((1, 3, 5) if crd else (3, 5, 1)), 2, 4).reshape(
        batch, -1, height // block, width // block
    )


@operator("ReverseSequence")
def reverse_sequence(node: OnnxNode, x: Tensor, lengths: Tensor) -> Tensor:
    """The first positions of each sample in reverse; all of them, where the lengths say so, by a flip."""
    time, batch = node.attribute("time_axis", 0), node.attribute("batch_axis", 1)
    if bool((lengths == x.shape[time]).all()):
        return x.flip(time)
    pieces = []
    for sample, length in zip(x.unbind(batch), lengths.tolist(), strict=True):
        along = time - (batch < time)
        head, tail = sample.split_with_sizes([length, sample.shape[along] - length], along)
        pieces.append(torch.cat([head.flip(along), tail], along))
    return torch.stack(pieces, batch)


def _listed(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]
