"""Axes that hold other channels in each block (the width of a head), through the operators that attention is made of.

A reshape that splits an axis into heads of some width makes one: the axis gets labels of its own, a stack, and beside
them the tensor keeps which channel lies where, per head. The rules of this package see the stack's labels and need not
know; those decorated here keep sight of the blocks. Where sight of them is lost, the tracer ties the blocks' positions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps

import numpy as np
import torch

from coppice.channels import FIXED, Axes, Labels, Ledger
from coppice.tracing.call import Blocks, Call, Rule

#: Moves labels as the operator moves a tensor of the shape given; gives its outputs.
Move = Callable[[Call, Labels, Sequence[int]], Sequence[torch.Tensor]]


def distinct_blocks(labels: Labels, axis: int) -> Labels | None:
    """The different lines of labels along an axis, one per row; None when a position lies in several of them."""
    blocks = np.stack(list(_lines(labels, axis).values()))
    alone = bool((blocks != FIXED).all()) and np.unique(blocks).size == blocks.size
    return blocks if alone and len(blocks) > 1 else None


def _lines(labels: Labels, axis: int) -> dict[bytes, Labels]:
    lines = np.ascontiguousarray(np.moveaxis(labels, axis, -1)).reshape(-1, labels.shape[axis])
    return {line.tobytes(): line for line in lines}


def without_repeats(labels: torch.Tensor) -> Labels:
    """One position of every axis along which nothing changes because its stride is 0: most of a large tensor."""
    once = labels[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in labels.stride())]
    return once.numpy().astype(np.int64)


def short(labels: torch.Tensor) -> Labels:
    """One position of every axis along which nothing changes."""
    found = without_repeats(labels)
    for axis, length in enumerate(found.shape):
        if length > 1:
            first = found.take([0], axis=axis)
            found = first if bool((found == first).all()) else found
    return found


def moving(move: Move) -> Callable[[Rule], Rule]:
    """For rules of operators that move data: blocks are moved along, whole, wherever they go."""

    def decorate(rule: Rule) -> Rule:
        @wraps(rule)
        def carried(call: Call) -> Sequence[Axes]:
            source = next(call.tensors())
            if not (blocks := call.blocks(source)):
                return rule(call)
            axes = call.labels(source)
            shape = [one.size for one in axes]  # an operator in place has changed that of the tensor
            others = tuple(np.zeros_like(one) if axis in blocks else one for axis, one in enumerate(axes))
            results = [list(one) for one in rule(call.instead(source, others))]
            kept: list[dict[int, Labels]] = [{} for _ in results]
            for axis, labels in blocks.items():
                known = _lines(labels, axis).keys()
                for result, keep, moved in zip(results, kept, move(call, labels, shape), strict=True):
                    here = short(moved)
                    if not _placed(call.ledger, result, keep, here, axes[axis], known):
                        call.ledger.flatten(axes[axis])
                        return rule(call)
            for output, keep in zip(call.outputs, kept, strict=True):
                call.keep(output, keep)
            return [tuple(one) for one in results]

        return carried

    return decorate


def _placed(
    ledger: Ledger, result: list[Labels], keep: dict[int, Labels], labels: Labels, own: Labels, known: Collection[bytes]
) -> bool:
    """Enter moved blocks into the axes of an output; false when they did not stay whole."""
    varying = [axis for axis, length in enumerate(labels.shape) if length > 1]
    for axis in reversed(varying):
        if result[axis].any():
            continue
        if labels.shape[axis] == own.size and (lines := _lines(labels, axis)).keys() <= set(known):
            if len(lines) == 1:
                (result[axis],) = lines.values()
                return True
            # Fewer than there were, as the queries are of queries, keys and values: an axis of its own.
            fewer = len(lines) < len(known)
            result[axis] = ledger.stack(np.stack(list(lines.values())), balanced=False) if fewer else own
            keep[axis] = labels
            return True
        if len(varying) == 1 and labels.shape[axis] % own.size == 0:
            joined = labels.ravel()
            if _lines(joined.reshape(-1, own.size), 1).keys() <= set(known):
                result[axis] = joined  # one block after the other, as they were before the axis was split
                return True
    return False


def meeting(rule: Rule) -> Rule:
    """For element-wise rules: where blocks meet blocks, they are tied one by one."""

    @wraps(rule)
    def carried(call: Call) -> Sequence[Axes]:
        tensors = [one for one in call.tensors() if one.dim()]
        if not any(call.blocks(one) for one in tensors):
            return rule(call)
        shape, kept = call.outputs[0].shape, dict[int, Labels]()
        for axis in {axis - one.dim() for one in tensors for axis in call.blocks(one)}:
            here = [one for one in tensors if one.dim() >= -axis and one.shape[axis] == shape[axis]]
            if not all(one.dim() + axis in call.blocks(one) for one in here):
                continue  # what all blocks share meets them
            first = _ranked(call.blocks(here[0])[here[0].dim() + axis], len(shape))
            for other in here[1:]:
                pair = np.broadcast_arrays(first, _ranked(call.blocks(other)[other.dim() + axis], len(shape)))
                call.ledger.tie(*(labels.ravel() for labels in pair))
                call = call.instead(other, _with(call.labels(other), axis, call.labels(here[0])[axis]))
                first = pair[0]
            kept[len(shape) + axis] = first
        results = rule(call)
        for output in call.outputs:
            call.keep(output, kept)
        return results

    return carried


def _ranked(labels: Labels, rank: int) -> Labels:
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def _with(axes: Axes, axis: int, labels: Labels) -> Axes:
    changed = list(axes)
    changed[axis] = labels
    return tuple(changed)


def multiplying(left: str, right: str) -> Callable[[Rule], Rule]:
    """For matrix products: contracted blocks are tied one by one, those along rows and columns pass."""

    def decorate(rule: Rule) -> Rule:
        @wraps(rule)
        def carried(call: Call) -> Sequence[Axes]:
            ours, theirs = call.blocks(call[left]), call.blocks(call[right])
            if not ours and not theirs:
                return rule(call)
            row, column = call[left].dim() - 2, call[left].dim() - 1
            kept: dict[int, Labels] = {}
            if row in ours and ours[row].shape[column] == 1:
                kept[row] = ours[row]
            if column in theirs and theirs[column].shape[row] == 1:
                kept[column] = theirs[column]
            if column in ours and row in theirs and ours[column].shape[row] == theirs[row].shape[column] == 1:
                pair = np.broadcast_arrays(ours[column], np.swapaxes(theirs[row], row, column))
                call.ledger.contract(*(labels.ravel() for labels in pair))
                call = call.instead(call[right], _with(call.labels(call[right]), row, call.labels(call[left])[column]))
            elif column in ours and row in theirs:  # every block meets every other: products of features with features
                call.ledger.flatten(call.labels(call[left])[column])
                call.ledger.flatten(call.labels(call[right])[row])
            results = rule(call)
            call.keep(call.outputs[0], kept)
            return results

        return carried

    return decorate


def reducing(dims: Callable[[Call, int], set[int]]) -> Callable[[Rule], Rule]:
    """For reductions, and what is taken along an axis: blocks pass unless several of them meet."""

    def decorate(rule: Rule) -> Rule:
        @wraps(rule)
        def carried(call: Call) -> Sequence[Axes]:
            results = rule(call)
            source = call["self"]
            if not (blocks := call.blocks(source)):
                return results
            gone = dims(call, source.dim())
            for output in call.outputs:
                call.keep(output, _left(blocks, gone, output, source))
            return results

        return carried

    return decorate


def _left(blocks: Blocks, gone: set[int], output: torch.Tensor, source: torch.Tensor) -> dict[int, Labels]:
    found = {}
    for axis, labels in blocks.items():
        if any(labels.shape[one] > 1 for one in gone if one != axis):
            continue
        if output.shape == source.shape:
            found[axis] = labels
        elif axis not in gone:
            lost = tuple(gone) if output.dim() < source.dim() else ()
            found[axis - len([one for one in lost if one < axis])] = labels.squeeze(lost)
    return found
