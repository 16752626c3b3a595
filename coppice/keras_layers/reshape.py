"""The one layer whose configuration states sizes that a cut makes stale: where the numbers of a Reshape come from.

A target such as (7, 7, 64) or (1, 1, 32) was written for one input shape. When the input's channels have become
fewer, exactly one number of the target must follow. Which one is read from the two shapes: both are split into the
shortest runs of axes with equal products, and a change inside a run stays inside it.
"""

from __future__ import annotations

import math

Shape = tuple[int, ...]


def followed(target: Shape, was: Shape, now: Shape) -> Shape:
    """The target for an input of shape `now`, given that it was written for `was` (no batch axis in either).

    >>> followed((1, 1, 32), (32,), (19,))
    (1, 1, 19)
    >>> followed((-1, 64), (7, 7, 64), (7, 7, 38))
    (49, 38)
    >>> followed((7, 7, 64), (3136,), (1862,))
    (7, 7, 38)
    """
    if was == now:
        return target
    resolved = _resolved(target, math.prod(was))
    answer: list[int] = []
    for out, old, new in _runs(resolved, was, now):
        answer.extend(_run_followed(out, old, new))
    return tuple(answer)


def followed_with_batch(target: Shape, was: Shape, now: Shape) -> Shape:
    """The same for a target and shapes with the batch axis, which a target may leave alone or join to others.

    >>> followed_with_batch((-1, 24), (2, 6, 4), (2, 6, 3))
    (2, 18)
    """
    if math.prod(_resolved(target, math.prod(was))[1:]) == math.prod(was[1:]):
        return (now[0], *followed(target[1:], was[1:], now[1:]))
    return followed(target, was, now)


def _resolved(target: Shape, elements: int) -> Shape:
    """The target with its -1 computed."""
    known = math.prod(size for size in target if size != -1)
    return tuple(elements // known if size == -1 else size for size in target)


def _runs(target: Shape, was: Shape, now: Shape) -> list[tuple[Shape, Shape, Shape]]:
    """Shortest runs of the target and of the input that hold equally many elements."""
    runs: list[tuple[Shape, Shape, Shape]] = []
    start_out = start_in = 0
    end_out = end_in = 0
    while end_out < len(target) or end_in < len(was):
        out, old = math.prod(target[start_out:end_out]), math.prod(was[start_in:end_in])
        grow_out = end_in == len(was) or (end_out < len(target) and out < old)
        if (end_out == start_out and end_out < len(target)) or (grow_out and end_out < len(target)):
            end_out += 1
        else:
            end_in += 1
        closed = math.prod(target[start_out:end_out]) == math.prod(was[start_in:end_in])
        if closed and end_out > start_out and end_in > start_in:
            runs.append((target[start_out:end_out], was[start_in:end_in], now[start_in:end_in]))
            start_out, start_in = end_out, end_in
    if start_out < end_out or start_in < end_in:  # trailing ones
        runs.append((target[start_out:end_out], was[start_in:end_in], now[start_in:end_in]))
    return runs


def _run_followed(out: Shape, old: Shape, new: Shape) -> Shape:
    """One run of the target after its input run changed from `old` to `new`."""
    before, after = math.prod(old), math.prod(new)
    if before == after and old == new:
        return out
    # The number that equals a changed channel count follows first, then the last that stays whole.
    changed = {size for size, size_now in zip(old, new, strict=True) if size != size_now}
    order = sorted(range(len(out)), key=lambda axis: (out[axis] in changed, axis), reverse=True)
    for axis in order:
        if out[axis] != 1 and out[axis] * after % before == 0:
            return (*out[:axis], out[axis] * after // before, *out[axis + 1 :])
    return out  # nothing fits: the reshape itself will say so, with both shapes
