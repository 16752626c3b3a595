"""What operations between layers compute: one function per meaning, whatever a dialect calls it.

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

Operation = Callable[..., Any]


def tensor_like(value: Any, x: Tensor) -> Tensor:
    """A constant beside a tensor, as a tensor."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=x.dtype, device=x.device)


def _pair(combine: Callable[[Any, Any], Any]) -> Operation:
    """Of two operands, one of which may be a number or a list of numbers."""

    def pair(x: Any, y: Any) -> Any:
        if isinstance(y, list):
            return combine(x, tensor_like(y, x))
        return combine(tensor_like(x, y) if isinstance(x, list) else x, y)

    return pair


def _both_tensors(combine: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    def both(x: Any, y: Any) -> Tensor:
        one = x if isinstance(x, Tensor) else tensor_like(x, y)
        return combine(one, tensor_like(y, one))

    return both


def _clip(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    return torch.clamp(x, min=None if low is None else float(low), max=None if high is None else float(high))


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


def _concatenate(xs: Sequence[Tensor], axis: Any = -1) -> Tensor:
    return torch.cat(list(xs), dim=int(axis))


def _stack(xs: Sequence[Any], axis: Any = 0) -> Tensor:
    first = next((x for x in xs if isinstance(x, Tensor)), torch.zeros((), dtype=torch.int64))
    return torch.stack([tensor_like(x, first) for x in xs], dim=int(axis))


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


def _matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x else x
    return left @ (y.transpose(-1, -2) if transpose_y else y)


def _einsum(*operands: Any, equation: str = "") -> Tensor:
    written = equation or operands[0]
    return torch.einsum(str(written), *(operands if equation else operands[1:]))


def _tile(x: Tensor, repeats: Any) -> Tensor:
    return x.repeat(tuple(int(times) for times in plain(repeats)))


def _repeat(x: Tensor, repeats: Any, axis: Any = 0) -> Tensor:
    return x.repeat_interleave(int(repeats), dim=int(axis))


def _pad(x: Tensor, amounts: Any, mode: str = "constant", value: Any = None) -> Tensor:
    flat = [int(amount) for pair in reversed(plain(amounts)) for amount in plain(pair)]
    if mode.lower() != "constant":
        raise TypeError(f"mode={mode!r}")
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def _cast(x: Tensor, dtype: Any = None) -> Tensor:
    """To whole numbers or truth where that is asked; floating point stays in the width of the run."""
    wanted = str(dtype or "float32")
    if "int" in wanted:
        return x.long()
    if "bool" in wanted:
        return x.bool()
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def _where(condition: Tensor, x: Any, y: Any) -> Tensor:
    given = x if isinstance(x, Tensor) else y
    if not isinstance(given, Tensor):
        given = torch.zeros((), dtype=torch.get_default_dtype())
    return torch.where(condition.bool(), tensor_like(x, given), tensor_like(y, given))


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


def _depth_to_space(x: Tensor, block: Any) -> Tensor:
    """Channels laid out as blocks of positions; TensorFlow numbers the block first, then what is left of a channel."""
    n, height, width, channels = x.shape
    b = int(block)
    y = x.reshape(n, height, width, b, b, channels // (b * b)).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, height * b, width * b, channels // (b * b))


def _space_to_depth(x: Tensor, block: Any) -> Tensor:
    n, height, width, channels = x.shape
    b = int(block)
    y = x.reshape(n, height // b, b, width // b, b, channels).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, height // b, width // b, b * b * channels)


def _resized(x: Tensor, size: Any, method: str = "bilinear", **ignored: Any) -> Tensor:
    if any(value for key, value in ignored.items() if key in ("antialias", "preserve_aspect_ratio", "align_corners")):
        raise TypeError("antialias, preserve_aspect_ratio or align_corners")
    modes = {"bilinear": "bilinear", "nearest": "nearest-exact"}
    height, width = (int(one) for one in plain(size))
    y = F.interpolate(x.movedim(x.dim() - 1, 1), size=(height, width), mode=modes[str(method).lower()])
    return y.movedim(1, y.dim() - 1)


def _shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape)


def _softmax(x: Tensor, axis: Any = -1) -> Tensor:
    return torch.softmax(x, dim=int(axis))


def _log_softmax(x: Tensor, axis: Any = -1) -> Tensor:
    return torch.log_softmax(x, dim=int(axis))


def _leaky_relu(x: Tensor, slope: Any = 0.2) -> Tensor:
    return F.leaky_relu(x, float(slope))


def _gelu(x: Tensor, approximate: Any = False) -> Tensor:
    return F.gelu(x, approximate="tanh" if approximate else "none")


def _elu(x: Tensor, alpha: Any = 1.0) -> Tensor:
    return F.elu(x, float(alpha))


def _argmax(x: Tensor, axis: Any = None, keepdims: Any = False) -> Tensor:
    return x.argmax(dim=None if axis is None else int(axis), keepdim=bool(keepdims))


def _prod(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((one % x.dim() for one in dim), reverse=True):
        x = x.prod(dim=axis, keepdim=keepdim)
    return x


#: One name per meaning; `spellings.py` says how each dialect spells it.
MEANINGS: dict[str, Operation] = {
    "add": _pair(lambda x, y: x + y),
    "subtract": _pair(lambda x, y: x - y),
    "multiply": _pair(lambda x, y: x * y),
    "divide": _pair(lambda x, y: x / y),
    "floor_divide": _pair(lambda x, y: x // y),
    "power": _pair(lambda x, y: x**y),
    "squared_difference": _pair(lambda x, y: (x - y) ** 2),
    "equal": _pair(lambda x, y: x == y),
    "not_equal": _pair(lambda x, y: x != y),
    "greater": _pair(lambda x, y: x > y),
    "greater_equal": _pair(lambda x, y: x >= y),
    "less": _pair(lambda x, y: x < y),
    "less_equal": _pair(lambda x, y: x <= y),
    "logical_and": _both_tensors(torch.logical_and),
    "logical_or": _both_tensors(torch.logical_or),
    "logical_not": torch.logical_not,
    "maximum": _both_tensors(torch.maximum),
    "minimum": _both_tensors(torch.minimum),
    "clip": _clip,
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
    "argmax": _argmax,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "transpose": _transpose,
    "swap_axes": lambda x, axis1, axis2: x.transpose(int(axis1), int(axis2)),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "matmul": _matmul,
    "einsum": _einsum,
    "tile": _tile,
    "repeat": _repeat,
    "flip": lambda x, axis=None: x.flip(_axes(axis, x)),
    "pad": _pad,
    "cast": _cast,
    "where": _where,
    "one_hot": _one_hot,
    "take": _take,
    "unit_length": _unit_length,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "resize": _resized,
    "shape": _shape,
    "zeros_like": torch.zeros_like,
    "ones_like": torch.ones_like,
    "negative": torch.neg,
    "absolute": torch.abs,
    "sign": torch.sign,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "sin": torch.sin,
    "cos": torch.cos,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "erf": torch.erf,
    "relu": torch.relu,
    "relu6": F.relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": _gelu,
    "elu": _elu,
    "selu": torch.selu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "hard_sigmoid": F.hardsigmoid,  # as an operation it exists in Keras 3 only
    "hard_silu": F.hardswish,
    "identity": lambda x: x,
    "reshape": lambda x, shape: x.reshape([int(size) for size in shape]),
}
