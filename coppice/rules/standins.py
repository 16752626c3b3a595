"""What stands in for a value that depends on how many channels there are, when two widths of a model are compared.

Layer norm over half of the channels is another function, so a pruned model can't equal the masked original where rules
say that channels are mixed. Everything around the statistic can: with an element-wise function in its place, in both
models, the outputs must be equal again. A table of operators: what of a call differs when channels went, and the
stand-in. Numbers that the code computes from sizes (the scale of an attention) are those of the original in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from coppice.tracing.call import bind

Arguments = Mapping[str, Any]
Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """`counts`: the sizes that the value depends on. `value`: what takes the place of the outputs."""

    counts: Callable[[Arguments], Numbers]
    value: Callable[[Arguments, Any], Any]


def told(op: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Numbers | None:
    """What a call depends on beside its tensors' values; None when that is nothing."""
    if (stand_in := _found(op)) is not None:
        return stand_in.counts(bind(op, args, kwargs)) or None
    return tuple(float(value) for value in _numbers(op, args, kwargs).values()) or None


def replaced(op: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], original: Numbers) -> Any:
    """The outputs of a call that differs between two widths: the stand-in's, or those of the original's numbers."""
    if (stand_in := _found(op)) is not None:
        return stand_in.value(bind(op, args, kwargs), op(*args, **kwargs))
    given = _numbers(op, args, kwargs)
    if op._schema.name == "aten::lift_fresh":
        return torch.full_like(args[0], original[0])
    bound: dict[str, Any] = {**bind(op, args, kwargs), **dict(zip(given, original, strict=True))}
    return op(**bound)


def _found(op: torch._ops.OpOverload) -> StandIn | None:
    name, overload = op._schema.name, op._overloadname
    return STAND_INS.get(f"{name}.{overload}") or STAND_INS.get(name)


def _numbers(op: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, float]:
    """The fractions and counts that a call computes with; not sizes, axes or flags."""
    if op._schema.name == "aten::lift_fresh":
        return {"self": args[0].item()} if args[0].dim() == 0 else {}  # torch.tensor of a number
    bound: dict[str, float] = {}
    for place, name in _numeric(op):
        given = args[place] if place < len(args) else kwargs.get(name)
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            bound[name] = given
    return bound


@cache
def _numeric(op: torch._ops.OpOverload) -> tuple[tuple[int, str], ...]:
    """Place and name of the arguments that may be numbers to compute with."""
    return tuple(
        (place, argument.name) for place, argument in enumerate(op._schema.arguments) if str(argument.type) in NUMERIC
    )


#: Types of arguments that may hold a number to compute with; a Python number may be given for a tensor.
NUMERIC = ("number", "Tensor", "float", "Optional[number]", "Optional[float]")


def _bounded(x: Tensor) -> Tensor:
    """Keeps zero, signs and order, and never grows: stands in for any normalisation."""
    return x / (1 + x.abs())


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    y = _bounded(x)
    y = y if weight is None else y * weight.reshape(tuple(shape))
    return y if bias is None else y + bias.reshape(tuple(shape))


def _layer_norm(call: Arguments, outputs: Any) -> Any:
    y = _scaled(call["input"], call["weight"], call.get("bias"), call["normalized_shape"])
    return (y, *(torch.ones_like(output) for output in outputs[1:]))


def _per_channel(call: Arguments, outputs: Any) -> Any:
    x = call["input"]
    y = _scaled(x, call["weight"], call["bias"], (-1, *[1] * (x.dim() - 2)))
    return (y, *(torch.ones_like(output) for output in outputs[1:]))


def _batch_counts(call: Arguments) -> Numbers:
    shape = call["input"].shape
    return (shape[0], *shape[2:]) if call["training"] else ()


def _reduced_counts(call: Arguments) -> Numbers:
    x, dim = call["self"], call.get("dim")
    dims = range(x.dim()) if dim is None or dim == [] else dim if isinstance(dim, (list, tuple)) else [dim]
    return tuple(x.shape[d] for d in dims) if x.dim() else ()


def _loss_counts(call: Arguments) -> Numbers:
    return tuple(call["self"].shape) if call["reduction"] == 1 else ()


def _ones(_: Arguments, outputs: Any) -> Any:
    """No value over the channels is the same at two widths, but a constant is."""
    if isinstance(outputs, Tensor):
        return torch.ones_like(outputs)
    return type(outputs)(torch.ones_like(x) if x.is_floating_point() else torch.zeros_like(x) for x in outputs)


def _along_counts(call: Arguments) -> Numbers:
    return (call["self"].shape[call["dim"]],) if call["self"].dim() else ()


def _window_counts(call: Arguments) -> Numbers:
    """A kernel of one channel that slides along channels (ECA); any other convolution depends on no size."""
    x, weight = call["input"], call["weight"]
    slides = weight.shape[0] == weight.shape[1] == 1 and set(call["stride"]) == {1}
    return tuple(x.shape[2:]) if slides else ()


def _centre_tap(call: Arguments, _: Any) -> Any:
    weight = call["weight"].flatten()
    y = call["input"] * weight[weight.numel() // 2]
    return y if call["bias"] is None else y + call["bias"]


def _pool_counts(call: Arguments) -> Numbers:
    return tuple(call["self"].shape[-len(call["kernel_size"]) :]) if set(call["stride"]) == {1} else ()


def _centre(call: Arguments, outputs: Tensor) -> Any:
    x, kernel = call["self"], call["kernel_size"]
    for place, width in enumerate(kernel, outputs.dim() - len(kernel)):
        x = x.narrow(place, width // 2, outputs.shape[place])
    return x


_REDUCED = StandIn(counts=_reduced_counts, value=_ones)
_BATCH = StandIn(counts=_batch_counts, value=_per_channel)
_LAYER = StandIn(counts=lambda call: tuple(call["normalized_shape"]), value=_layer_norm)
_POOLED = StandIn(counts=_pool_counts, value=_centre)

STAND_INS: dict[str, StandIn] = {
    "aten::native_layer_norm": _LAYER,
    "aten::_fused_rms_norm": _LAYER,
    "aten::native_group_norm": StandIn(counts=lambda call: (call["C"] // call["group"],), value=_per_channel),
    **dict.fromkeys(("aten::native_batch_norm", "aten::_native_batch_norm_legit"), _BATCH),
    **dict.fromkeys(
        (
            "aten::amax",
            "aten::amin",
            "aten::logsumexp",
            "aten::max.default",
            "aten::max.dim",
            "aten::mean",
            "aten::min.default",
            "aten::min.dim",
            "aten::std",
            "aten::std_mean",
            "aten::var",
            "aten::var_mean",
        ),
        _REDUCED,
    ),
    **dict.fromkeys(
        ("aten::_safe_softmax", "aten::_softmax"),
        StandIn(counts=_along_counts, value=lambda call, _: call["self"].sigmoid()),
    ),
    "aten::_log_softmax": StandIn(
        counts=_along_counts, value=lambda call, _: -torch.nn.functional.softplus(-call["self"])
    ),
    **dict.fromkeys(
        (
            "aten::binary_cross_entropy",
            "aten::binary_cross_entropy_with_logits",
            "aten::huber_loss",
            "aten::mse_loss",
            "aten::smooth_l1_loss",
            "aten::soft_margin_loss",
        ),
        StandIn(counts=_loss_counts, value=_ones),
    ),
    "aten::convolution": StandIn(counts=_window_counts, value=_centre_tap),
    **dict.fromkeys(("aten::avg_pool2d", "aten::avg_pool3d"), _POOLED),
}
