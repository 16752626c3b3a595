"""Operations between layers that compute every position by itself, by meaning; part of the table of `meanings.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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


def _where(condition: Tensor, x: Any, y: Any) -> Tensor:
    given = x if isinstance(x, Tensor) else y
    if not isinstance(given, Tensor):
        given = torch.zeros((), dtype=torch.get_default_dtype())
    return torch.where(condition.bool(), tensor_like(x, given), tensor_like(y, given))


def _divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    zero = y == 0
    return torch.where(zero, torch.zeros_like(x / y), x / torch.where(zero, torch.ones_like(y), y))


def _leaky_relu(x: Tensor, slope: Any = 0.2) -> Tensor:
    return F.leaky_relu(x, float(slope))


def _relu(x: Tensor, max_value: Any = None, slope: Any = 0.0, threshold: Any = 0.0) -> Tensor:
    """With the options of Keras' own backend, which has one function for all kinds."""
    if threshold:
        raise TypeError(f"threshold={threshold}")
    y = F.leaky_relu(x, float(slope)) if slope else torch.relu(x)
    return y if max_value is None else torch.clamp(y, max=float(max_value))


def _gelu(x: Tensor, approximate: Any = False) -> Tensor:
    return F.gelu(x, approximate="tanh" if approximate else "none")


def _elu(x: Tensor, alpha: Any = 1.0) -> Tensor:
    return F.elu(x, float(alpha))


ELEMENTWISE: dict[str, Operation] = {
    "add": _pair(lambda x, y: x + y),
    "subtract": _pair(lambda x, y: x - y),
    "multiply": _pair(lambda x, y: x * y),
    "divide": _pair(lambda x, y: x / y),
    "divide_no_nan": _both_tensors(_divide_no_nan),
    "floor_divide": _pair(lambda x, y: x // y),
    "remainder": _both_tensors(torch.remainder),
    "power": _pair(lambda x, y: x**y),
    "squared_difference": _pair(lambda x, y: (x - y) ** 2),
    "arctan2": _both_tensors(torch.atan2),
    "hypot": _both_tensors(torch.hypot),
    "logaddexp": _both_tensors(torch.logaddexp),
    "xlogy": _both_tensors(torch.xlogy),
    "equal": _pair(lambda x, y: x == y),
    "not_equal": _pair(lambda x, y: x != y),
    "greater": _pair(lambda x, y: x > y),
    "greater_equal": _pair(lambda x, y: x >= y),
    "less": _pair(lambda x, y: x < y),
    "less_equal": _pair(lambda x, y: x <= y),
    "logical_and": _both_tensors(torch.logical_and),
    "logical_or": _both_tensors(torch.logical_or),
    "logical_xor": _both_tensors(torch.logical_xor),
    "logical_not": torch.logical_not,
    "maximum": _both_tensors(torch.maximum),
    "minimum": _both_tensors(torch.minimum),
    "clip": _clip,
    "where": _where,
    "negative": torch.neg,
    "absolute": torch.abs,
    "sign": torch.sign,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "arcsin": torch.asin,
    "arccos": torch.acos,
    "arctan": torch.atan,
    "arcsinh": torch.asinh,
    "arccosh": torch.acosh,
    "arctanh": torch.atanh,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "erf": torch.erf,
    "isnan": torch.isnan,
    "isinf": torch.isinf,
    "isfinite": torch.isfinite,
    "nan_to_num": torch.nan_to_num,
    "zeros_like": torch.zeros_like,
    "ones_like": torch.ones_like,
    "identity": lambda x: x,
    "relu": _relu,
    "relu6": F.relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": _gelu,
    "elu": _elu,
    "celu": lambda x, alpha=1.0: F.celu(x, float(alpha)),
    "selu": torch.selu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hard_sigmoid": F.hardsigmoid,  # as an operation it exists in Keras 3 only
    "hard_silu": F.hardswish,
    "hard_tanh": F.hardtanh,
    "hard_shrink": lambda x, threshold=0.5: F.hardshrink(x, float(threshold)),
    "soft_shrink": lambda x, threshold=0.5: F.softshrink(x, float(threshold)),
    "tanh_shrink": F.tanhshrink,
    "squareplus": lambda x, b=4: (x + torch.sqrt(x * x + b)) / 2,
    "sparse_sigmoid": lambda x: torch.clamp((x + 1) / 2, 0.0, 1.0),
}
