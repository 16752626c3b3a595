"""What operations between layers compute: one function per meaning, whatever a dialect calls it.

Here are those that move or mix positions; `elementwise.py` and `image_meanings.py` hold the others.

Tensors come first, then what the user's call stated, under one set of names; `spellings.py` says how each dialect
spells both. Numbers may come as numbers or as lists of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.configuration import plain
from coppice.keras_layers.elementwise import ELEMENTWISE, Operation, tensor_like
from coppice.keras_layers.image_meanings import IMAGES


def _axes(axis: Any, x: Tensor) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.dim()))
    axes = plain(axis)
    return tuple(int(one) for one in axes) if isinstance(axes, Sequence) else (int(axes),)


def _over(reduce: Callable[..., Tensor]) -> Operation:
    """Along some axes, or along all of them."""

    def reduced(x: Tensor, axis: Any = None, keepdims: Any = False) -> Tensor:
        return reduce(x, dim=_axes(axis, x), keepdim=bool(keepdims))

    return reduced


def _alike(xs: Sequence[Any]) -> list[Tensor]:
    """Tensors and constants beside each other, all as tensors."""
    first = next((x for x in xs if isinstance(x, Tensor)), torch.zeros((), dtype=torch.int64))
    return [tensor_like(x, first) for x in xs]


def _concatenate(xs: Sequence[Any], axis: Any = -1) -> Tensor:
    return torch.cat(_alike(xs), dim=int(axis))


def _stack(xs: Sequence[Any], axis: Any = 0) -> Tensor:
    return torch.stack(_alike(xs), dim=int(axis))


def picked(x: Tensor, index: Sequence[Any]) -> Tensor:
    """`x[index]`, where a step may go backwards, which torch's own indices may not."""
    stated = sum(part is not None and part is not Ellipsis for part in index)
    parts: list[Any] = []
    for part in index:
        parts += [slice(None)] * (x.dim() - stated) if part is Ellipsis else [part]
    forward: list[Any] = []
    backwards: list[int] = []
    source = made = 0
    for part in parts:
        if isinstance(part, slice) and part.step is not None and int(part.step) < 0:
            places = range(*part.indices(x.shape[source]))
            part = slice(places[-1], places[0] + 1, -places.step) if places else slice(0, 0)
            backwards.append(made)
        forward.append(part)
        source += part is not None
        made += part is None or isinstance(part, slice)
    result = x[tuple(forward)]
    return result.flip(backwards) if backwards else result


def _split(x: Tensor, parts: Any = None, axis: Any = 0, *, bounds: Any = None) -> list[Tensor]:
    """Into so many equal parts, into parts of these sizes, or at these bounds."""
    dim = int(axis) % x.dim()
    if isinstance(bounds, list):
        ends = [*bounds, x.shape[dim]]
        sizes = [end - start for start, end in zip([0, *bounds], ends, strict=True)]
        return list(torch.split_with_sizes(x, sizes, dim))
    count = plain(parts if bounds is None else bounds)
    if isinstance(count, list):
        return list(torch.split_with_sizes(x, [int(size) for size in count], dim))
    return list(x.chunk(int(count), dim=dim))


def _unstack(x: Tensor, axis: Any = 0) -> list[Tensor]:
    return list(x.unbind(int(axis)))


def _transpose(x: Tensor, axes: Any = None) -> Tensor:
    return x.permute(tuple(plain(axes)) if axes is not None else tuple(reversed(range(x.dim()))))


def _expand_dims(x: Tensor, axis: Any) -> Tensor:
    # From the front by place in the result, from the back in reverse, so that each lands where it was meant.
    for one in sorted(_axes(axis, x), key=lambda place: (place < 0, abs(place))):
        x = x.unsqueeze(one)
    return x


def _squeeze(x: Tensor, axis: Any = None) -> Tensor:
    axes = plain(axis)
    return x.squeeze() if axes in (None, []) else x.squeeze(_axes(axis, x))


def _matmul(x: Any, y: Any, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    left, right = _alike([x, y])
    left = left.transpose(-1, -2) if transpose_x else left
    return left @ (right.transpose(-1, -2) if transpose_y else right)


def _einsum(*operands: Any, equation: str = "") -> Tensor:
    written = equation or operands[0]
    return torch.einsum(str(written), *(operands if equation else operands[1:]))


def _tile(x: Tensor, repeats: Any) -> Tensor:
    return x.repeat(tuple(int(times) for times in plain(repeats)))


def _repeat(x: Tensor, repeats: Any, axis: Any = 0) -> Tensor:
    return x.repeat_interleave(int(repeats), dim=int(axis))


def _pad(x: Tensor, amounts: Any, mode: str = "constant", value: Any = None) -> Tensor:
    pairs = [tuple(int(amount) for amount in plain(pair)) for pair in plain(amounts)]
    if mode.lower() == "constant":
        flat = [amount for pair in reversed(pairs) for amount in pair]
        return F.pad(x, flat, value=0.0 if value is None else float(value))
    if mode.lower() not in ("reflect", "symmetric"):
        raise TypeError(f"mode={mode!r}")
    edge = 1 if mode.lower() == "reflect" else 0  # whether the outermost position is left out of its own mirror
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            ahead, back = x.narrow(axis, edge, before), x.narrow(axis, x.shape[axis] - edge - after, after)
            x = torch.cat([ahead.flip(axis), x, back.flip(axis)], dim=axis)
    return x


def _cast(x: Tensor, dtype: Any = None) -> Tensor:
    """To whole numbers or truth where that is asked; floating point stays in the width of the run."""
    wanted = str(dtype or "float32")
    if "int" in wanted:
        return x.long()
    if "bool" in wanted:
        return x.bool()
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def _one_hot(x: Tensor, classes: Any, axis: Any = -1) -> Tensor:
    if int(axis) not in (-1, x.dim()):
        raise TypeError(f"axis={axis}")
    return F.one_hot(x.long(), int(classes)).to(torch.get_default_dtype())


def _take(x: Tensor, indices: Any, axis: Any = 0) -> Tensor:
    wanted = torch.as_tensor(indices, device=x.device).long()
    picked = x.index_select(int(axis), wanted.reshape(-1))
    dim = int(axis) % x.dim()
    return picked.reshape(*x.shape[:dim], *wanted.shape, *x.shape[dim + 1 :])


def _unit_length(x: Tensor, axis: Any = -1, epsilon: Any = None) -> Tensor:
    squares = (x * x).sum(dim=_axes(axis, x), keepdim=True)
    return x * torch.rsqrt(torch.clamp(squares, min=1e-12 if epsilon is None else float(epsilon)))


def _shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape)


def _softmax(x: Tensor, axis: Any = -1) -> Tensor:
    return torch.softmax(x, dim=int(axis))


def _log_softmax(x: Tensor, axis: Any = -1) -> Tensor:
    return torch.log_softmax(x, dim=int(axis))


def _prod(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((one % x.dim() for one in dim), reverse=True):
        x = x.prod(dim=axis, keepdim=keepdim)
    return x


def _place(choose: Callable[..., Tensor]) -> Operation:
    def place(x: Tensor, axis: Any = None, keepdims: Any = False) -> Tensor:
        return choose(x, dim=None if axis is None else int(axis), keepdim=bool(keepdims))

    return place


def _along(scan: Callable[..., Tensor]) -> Operation:
    def scanned(x: Tensor, axis: Any, **options: Any) -> Tensor:
        if any(options.values()):
            raise TypeError(", ".join(options))
        return scan(x, dim=int(axis))

    return scanned


def _norm(x: Tensor, axis: Any = None, keepdims: Any = False, ord: Any = None) -> Tensor:  # noqa: A002  # its name
    if ord not in (None, 2, "euclidean", "fro"):
        raise TypeError(f"ord={ord}")
    return torch.sqrt((x * x).sum(dim=_axes(axis, x), keepdim=bool(keepdims)))


def _moments(x: Tensor, axes: Any, keepdims: Any = False, **_named: Any) -> list[Tensor]:
    over, kept = _axes(axes, x), bool(keepdims)
    return [x.mean(dim=over, keepdim=kept), x.var(dim=over, correction=0, keepdim=kept)]


def _batch_norm(
    x: Tensor, mean: Any, variance: Any, offset: Any = None, scale: Any = None, epsilon: Any = 1e-3, axis: Any = -1
) -> Tensor:
    if int(axis) not in (-1, x.dim() - 1):
        raise TypeError(f"axis={axis}")
    factor = torch.rsqrt(tensor_like(variance, x) + float(epsilon))
    factor = factor if scale is None else factor * tensor_like(scale, x)
    y = (x - tensor_like(mean, x)) * factor
    return y if offset is None else y + tensor_like(offset, x)


def _top_k(x: Tensor, k: Any = 1, **_named: Any) -> list[Tensor]:
    return list(x.topk(int(k), dim=-1))


def _sort(x: Tensor, axis: Any = -1, direction: str = "ASCENDING", **_named: Any) -> Tensor:
    return x.sort(dim=int(axis), descending=direction == "DESCENDING").values


def _roll(x: Tensor, shift: Any, axis: Any = None) -> Tensor:
    shifts = plain(shift)
    moved = tuple(int(one) for one in shifts) if isinstance(shifts, list) else (int(shifts),)
    return x.roll(moved) if axis is None else x.roll(moved, _axes(axis, x))


def _slice(x: Tensor, begin: Any, size: Any) -> Tensor:
    for axis, (first, count) in enumerate(zip(plain(begin), plain(size), strict=True)):
        length = x.shape[axis] - int(first) if int(count) == -1 else int(count)
        # The batch is as long as it was when the model was built, or open.
        x = x if axis == 0 and int(first) == 0 else x.narrow(axis, int(first), length)
    return x


def _broadcast_to(x: Tensor, shape: Any) -> Tensor:
    wanted = [int(size) for size in plain(shape)]
    return x.expand(x.shape[0] if len(wanted) == x.dim() else wanted[0], *wanted[1:])


def _tensordot(x: Tensor, y: Any, axes: Any = 2) -> Tensor:
    stated = plain(axes)
    pairs = stated if isinstance(stated, int) else [_axes(plain(one), x) for one in stated]
    product: Tensor = torch.tensordot(x, tensor_like(y, x), dims=pairs)
    return product


def _dot_product_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Heads come after steps: (samples, steps, heads, width)."""
    if any(value is not None and value is not False for value in options.values()):
        raise TypeError(", ".join(options))
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    weights = torch.softmax(q @ k.transpose(-1, -2) / query.shape[-1] ** 0.5, dim=-1)
    return (weights @ v).transpose(1, 2)


def _band(x: Tensor, lower: Any = 0, upper: Any = 0) -> Tensor:
    kept = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device)
    kept = kept if int(lower) < 0 else kept.triu(-int(lower))
    return x * (kept if int(upper) < 0 else kept.tril(int(upper))).to(x.dtype)


def _glu(x: Tensor, axis: Any = -1) -> Tensor:
    one, gate = x.chunk(2, dim=int(axis))
    return one * torch.sigmoid(gate)


#: One name per meaning; `spellings.py` says how each dialect spells it.
MEANINGS: dict[str, Operation] = {
    **ELEMENTWISE,
    **IMAGES,
    "mean": _over(torch.mean),
    "sum": _over(torch.sum),
    "max": _over(torch.amax),
    "min": _over(torch.amin),
    "prod": _over(_prod),
    "any": _over(torch.any),
    "all": _over(torch.all),
    "variance": _over(lambda x, dim, keepdim: torch.var(x, dim, correction=0, keepdim=keepdim)),
    "deviation": _over(lambda x, dim, keepdim: torch.std(x, dim, correction=0, keepdim=keepdim)),
    "logsumexp": _over(torch.logsumexp),
    "norm": _norm,
    "moments": _moments,
    "argmax": _place(torch.argmax),
    "argmin": _place(torch.argmin),
    "cumsum": _along(torch.cumsum),
    "cumprod": _along(torch.cumprod),
    "top_k": _top_k,
    "sort": _sort,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "transpose": _transpose,
    "swap_axes": lambda x, axis1, axis2: x.transpose(int(axis1), int(axis2)),
    "move_axis": lambda x, source, destination: x.movedim(_axes(source, x), _axes(destination, x)),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "matmul": _matmul,
    "matvec": lambda x, y: x @ tensor_like(y, x),
    "tensordot": _tensordot,
    "einsum": _einsum,
    "batch_norm": _batch_norm,
    "add_n": lambda xs: sum(xs[1:], start=xs[0]),
    "dot_product_attention": _dot_product_attention,
    "glu": _glu,
    "tile": _tile,
    "repeat": _repeat,
    "roll": _roll,
    "flip": lambda x, axis=None: x.flip(_axes(axis, x)),
    "pad": _pad,
    "slice": _slice,
    "broadcast_to": _broadcast_to,
    "band": _band,
    "lower_triangle": lambda x, k=0: torch.tril(x, int(k)),
    "upper_triangle": lambda x, k=0: torch.triu(x, int(k)),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: x.diagonal(int(offset), int(axis1), int(axis2)),
    "cast": _cast,
    "one_hot": _one_hot,
    "take": _take,
    "unit_length": _unit_length,
    # Without an axis TensorFlow means the whole tensor, Keras 3 the last one.
    "l2_normalize": lambda x, axis=None, epsilon=None: _unit_length(x, _axes(axis, x), epsilon),
    "matrix_transpose": lambda x: x.transpose(-1, -2),
    "flatten": lambda x: x.flatten(1),
    "shape": _shape,
    "size": lambda x: torch.tensor(x.numel()),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "reshape": lambda x, shape: x.reshape([int(size) for size in shape]),
}
