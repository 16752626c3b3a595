"""Where sizes arrive: which number of a Python-level call says how long which axis of its result is.

Operators are named as Python names them, functions and methods alike: `torch.reshape` and `Tensor.reshape` are
`reshape`. What is not listed takes no sizes, or takes them for axes that no plan cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from coppice.channels import Axes, Labels
from coppice.tracing.expressions import Expression, Length, Literal, combined
from coppice.tracing.tracked import Tracked, expression_of


class Size(NamedTuple):
    """A number as the code gave it, and the labels of the positions that it counts."""

    number: Expression
    labels: Labels


class Seen(NamedTuple):
    """A call as its sizes are read: positional and named arguments, the result, and the labels of tensors."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any
    labels: Callable[[torch.Tensor], Axes]
    length: Callable[[Labels], Length]

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def several(self, place: int, name: str) -> Sequence[int]:
        """Numbers given one by one or as a sequence: `view(2, 3)`, `view((2, 3))`."""
        return _several(self.args, self.kwargs, place, name)


def _several(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str) -> Sequence[int]:
    given: Any = args[place:] if len(args) > place else kwargs.get(name, ())
    if isinstance(given, int):
        given = (given,)
    elif given and isinstance(given[0], (list, tuple)):
        given = given[0]
    return [number if isinstance(number, int) else _ordinary(number) for number in given]


def _ordinary(number: Any) -> int:
    """A number that an array or a tensor gave: one like -1, which says nothing, where it is known no more."""
    return int(number) if isinstance(number, np.integer) else -1


SizesOf = Callable[[Seen], Iterator[Size]]


def _named(first: int, *names: str) -> SizesOf:
    """The shape of the result, written out from argument `first` on; -1 says nothing."""

    def sizes(seen: Seen) -> Iterator[Size]:
        given = next((found for name in names if (found := seen.several(first, name))), ())
        axes = seen.labels(seen.result)
        if len(given) == len(axes):
            yield from _meeting(given, axes)

    return sizes


def _meeting(given: Sequence[int], axes: Sequence[Labels]) -> Iterator[Size]:
    for number, labels in zip(given, axes, strict=True):
        if number >= 0:
            yield Size(expression_of(number), labels)


def _unflattened(seen: Seen) -> Iterator[Size]:
    """`unflatten(dim, sizes)`."""
    axes, given = seen.labels(seen.result), seen.get(2, "sizes")
    first = seen.get(1, "dim") % (len(axes) - len(given) + 1)
    yield from _meeting(given, axes[first : first + len(given)])


def _split(seen: Seen) -> Iterator[Size]:
    """`split(size, dim)` and `split([sizes], dim)`: one size for all pieces but perhaps the last, or one each."""
    given = next((v for v in (seen.get(1, n) for n in ("split_size", "split_size_or_sections", "split_sizes")) if v), 0)
    dim = seen.get(2, "dim", 0)
    pieces = [seen.labels(piece)[dim] for piece in seen.result]
    if isinstance(given, int):
        pieces = [piece for piece in pieces if piece.size == given]
        given = [given] * len(pieces)
    yield from _meeting(given, pieces)


def _narrowed(seen: Seen) -> Iterator[Size]:
    """`narrow(dim, start, length)`."""
    dim, start, length = seen.get(1, "dim"), seen.get(2, "start"), seen.get(3, "length")
    before, after = seen.labels(seen.args[0])[dim], seen.labels(seen.result)[dim]
    yield Size(expression_of(length), after)
    if isinstance(start, int) and start > 0:
        yield Size(expression_of(start), before[:start])


def _indexed(seen: Seen) -> Iterator[Size]:
    """`x[a:b, :, n:]`: bounds count positions from the front, negative ones from the end."""
    given = seen.args[1] if isinstance(seen.args[1], tuple) else (seen.args[1],)
    axes = seen.labels(seen.args[0])
    if Ellipsis in [one if one is Ellipsis else None for one in given]:
        middle = next(place for place, one in enumerate(given) if one is Ellipsis)
        filled = len([one for one in given if one is not None and one is not Ellipsis])
        given = (*given[:middle], *[slice(None)] * (len(axes) - filled), *given[middle + 1 :])
    taken = [one for one in given if one is not None]
    if any(isinstance(one, torch.Tensor) and one.dim() != 1 for one in taken):
        return
    for one, labels in zip(taken, axes, strict=False):
        if isinstance(one, slice) and one.step in (None, 1):
            for bound in (one.start, one.stop):
                if isinstance(bound, int) and 0 < bound < labels.size:
                    yield Size(expression_of(bound), labels[:bound])
                elif isinstance(bound, int) and bound == labels.size:
                    yield Size(expression_of(bound), labels)
                elif isinstance(bound, int) and -labels.size <= bound < 0:
                    yield Size(combined("-", Literal(0), expression_of(bound)), labels[bound:])


def _repeated(seen: Seen) -> Iterator[Size]:
    """`repeat(n, m)`: so many times the axis that was there."""
    given, after = seen.several(1, "repeats"), seen.labels(seen.result)
    before = seen.labels(seen.args[0])
    for place, number in enumerate(reversed(given), 1):
        source = before[-place] if place <= len(before) else None
        if source is None or source.size == 1:
            yield Size(expression_of(number), after[-place])
        else:
            yield Size(combined("*", expression_of(number), seen.length(source)), after[-place])


def _interleaved(seen: Seen) -> Iterator[Size]:
    """`repeat_interleave(n, dim)`: every position n times."""
    number, dim = seen.get(1, "repeats"), seen.get(2, "dim")
    if isinstance(number, int) and dim is not None:
        source, after = seen.labels(seen.args[0])[dim], seen.labels(seen.result)[dim]
        yield Size(combined("*", expression_of(number), seen.length(source)), after)


def _normalized(seen: Seen) -> Iterator[Size]:
    """`layer_norm(x, normalized_shape)`: the last axes."""
    given = seen.several(1, "normalized_shape")
    yield from _meeting(given, seen.labels(seen.result)[-len(given) :])


def _convolved(seen: Seen) -> Iterator[Size]:
    """`conv2d(..., groups=channels)`: one group per channel, which then counts channels."""
    number, weight = seen.get(6, "groups", 1), seen.get(1, "weight")
    channels = seen.labels(seen.get(0, "input"))[1 - weight.dim()]
    if number > 1 and number == channels.size:
        yield Size(expression_of(number), channels)


def _counted(seen: Seen) -> Iterator[Size]:
    """`arange(n)`: as many positions as the number says, when it starts at 0."""
    (labels,) = seen.labels(seen.result)
    for number in (*seen.args, seen.kwargs.get("end")):
        if isinstance(number, int) and number == labels.size:
            yield Size(expression_of(number), labels)


#: Operators that say the shape of their result: name -> how their arguments are read.
SIZES: dict[str, SizesOf] = {
    **dict.fromkeys(("view", "reshape", "expand", "broadcast_to", "resize_"), _named(1, "shape", "size")),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), _named(1, "size")),
    **dict.fromkeys(("zeros", "ones", "empty", "full", "rand", "randn"), _named(0, "size")),
    "arange": _counted,
    "unflatten": _unflattened,
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "narrow": _narrowed,
    **dict.fromkeys(("__getitem__", "__setitem__"), _indexed),
    "repeat": _repeated,
    "repeat_interleave": _interleaved,
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalized),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolved),
}


def _literal_shape(args: Sequence[Any], kwargs: Mapping[str, Any]) -> frozenset[int]:
    given = _several(args, kwargs, 1, "shape") or _several(args, kwargs, 1, "size")
    return frozenset(axis for axis, number in enumerate(given) if number > 0 and not isinstance(number, Tracked))


def _literal_unflattened(args: Sequence[Any], kwargs: Mapping[str, Any]) -> frozenset[int]:
    tensor, dim = args[0], args[1] if len(args) > 1 else kwargs["dim"]
    given = (args[2] if len(args) > 2 else kwargs["sizes"]) if isinstance(dim, int) else ()
    first = dim % tensor.dim() if isinstance(dim, int) else 0
    return frozenset(first + n for n, size in enumerate(given) if size > 0 and not isinstance(size, Tracked))


#: Operators that split axes: name -> the axes of the result whose sizes are mere numbers, which can't follow.
LITERAL: dict[str, Callable[[Sequence[Any], Mapping[str, Any]], frozenset[int]]] = {
    **dict.fromkeys(("view", "reshape"), _literal_shape),
    "unflatten": _literal_unflattened,
}
