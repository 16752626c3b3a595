"""Activations: the functions that other layers name in `activation`, and the layers that are nothing else.

A function that isn't in the table is a user's own. It is passed over (see `barrier.py`), never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.barrier import opaque
from coppice.keras_layers.configuration import plain
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed
from coppice.keras_layers.table import keras_layer

#: What Keras adds to a score that must not count.
_FAR_BELOW = -1e9

Function = Callable[[Tensor], Tensor]


def _keras_2_hard_sigmoid(x: Tensor) -> Tensor:
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


def _relu6(x: Tensor) -> Tensor:
    return torch.clamp(x, 0.0, 6.0)


def _identity(x: Tensor) -> Tensor:
    return x


_FUNCTIONS: dict[str, Function] = {
    "linear": _identity,
    "relu": torch.relu,
    "relu6": _relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": partial(torch.softmax, dim=-1),
    "log_softmax": partial(torch.log_softmax, dim=-1),
    # TensorFlow's own functions, given as activation, are written under the names of their definitions.
    "softmax_v2": partial(torch.softmax, dim=-1),
    "log_softmax_v2": partial(torch.log_softmax, dim=-1),
    "elu": F.elu,
    "selu": torch.selu,
    "celu": torch.celu,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "silu": F.silu,
    "swish": F.silu,
    "exponential": torch.exp,
    "mish": F.mish,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_swish": F.hardswish,
    "log_sigmoid": F.logsigmoid,
    "hard_tanh": F.hardtanh,
    "tanh_shrink": F.tanhshrink,
}
#: What a name meant before Keras 3. hard_sigmoid changed silently: clip(0.2 x + 0.5) became relu6(x + 3) / 6.
_FUNCTIONS_BEFORE_KERAS_3: dict[str, Function] = {**_FUNCTIONS, "hard_sigmoid": _keras_2_hard_sigmoid}


def function_named(name: str, dialect: Dialect) -> Function | None:
    """The activation of that name in that dialect, None for a user's own."""
    table = _FUNCTIONS if dialect.generation is Generation.KERAS_3 else _FUNCTIONS_BEFORE_KERAS_3
    return table.get(name)


def activated(layer: KerasLayer, x: Tensor, key: str = "activation", default: str = "linear") -> Tensor:
    """`x` through the activation that the layer's configuration names under that key."""
    stated = layer.config.get(key)
    if stated is None:
        stated = default
    if isinstance(stated, Mapping):
        return _serialized(layer, stated, x)
    function = function_named(str(stated), layer.dialect)
    return _unknown(layer, str(stated), x) if function is None else function(x)


def _serialized(layer: KerasLayer, stated: Mapping[str, Any], x: Tensor) -> Tensor:
    """An activation written as an object: a function by name, or an activation layer with its own configuration."""
    name, config = str(stated.get("class_name", "")), stated.get("config")
    if name == "function" and isinstance(config, str):
        function = function_named(config, layer.dialect)
        return _unknown(layer, config, x) if function is None else function(x)
    rule = ACTIVATION_LAYERS.get(name)
    if rule is None or not isinstance(config, Mapping):
        return _unknown(layer, name, x)
    return rule(config, x)


def _unknown(layer: KerasLayer, name: str, x: Tensor) -> Tensor:
    passed: Tensor = opaque([x], f"the activation {name!r} of layer {layer.layer_name!r} is not a Keras function")
    return passed


#: Where a configuration names a function.
_KEYS = ("activation", "recurrent_activation")


def unknown_activations(config: Mapping[str, Any], dialect: Dialect) -> Iterator[str]:
    """The names of activations that can't be computed."""
    for stated in (config.get(key) for key in _KEYS):
        if isinstance(stated, Mapping):
            name, inner = str(stated.get("class_name", "")), stated.get("config")
            if name == "function" and not function_named(str(inner), dialect):
                yield str(inner)
            elif name != "function" and name not in ACTIVATION_LAYERS:
                yield name
        elif stated is not None and not function_named(str(stated), dialect):
            yield str(stated)


def _relu(config: Mapping[str, Any], x: Tensor) -> Tensor:
    slope, threshold = _number(config, "negative_slope", 0.0), _number(config, "threshold", 0.0)
    ceiling = config.get("max_value")
    above = torch.relu(x) if threshold == 0 else x * (x >= threshold).to(x.dtype)
    bounded = above if ceiling is None else torch.clamp(above, max=float(_scalar(ceiling)))
    # f(x) = slope * (x - threshold) below the threshold
    return bounded if slope == 0 else bounded + slope * torch.clamp(x - threshold, max=0.0)


def _leaky_relu(config: Mapping[str, Any], x: Tensor) -> Tensor:
    # Keras 2 says alpha, Keras 3 negative_slope; both default to 0.3.
    return F.leaky_relu(x, _number(config, "negative_slope", _number(config, "alpha", 0.3)))


def _elu(config: Mapping[str, Any], x: Tensor) -> Tensor:
    return F.elu(x, _number(config, "alpha", 1.0))


def _thresholded_relu(config: Mapping[str, Any], x: Tensor) -> Tensor:
    return x * (x > _number(config, "theta", 1.0)).to(x.dtype)


def _softmax(config: Mapping[str, Any], x: Tensor) -> Tensor:
    axis = plain(config.get("axis", -1))
    axes = axis if isinstance(axis, list) else [axis]
    if len(axes) == 1:
        return torch.softmax(x, dim=int(axes[0]))
    return torch.exp(x - torch.logsumexp(x, dim=tuple(axes), keepdim=True))


#: The layers that only apply a function: as layers, and where an `activation` holds one as an object.
ACTIVATION_LAYERS: dict[str, Callable[[Mapping[str, Any], Tensor], Tensor]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "ThresholdedReLU": _thresholded_relu,
    "Softmax": _softmax,
}


def _activation_layer(layer: KerasLayer, x: Tensor) -> Tensor:
    return ACTIVATION_LAYERS[layer.class_name](layer.config, x)


keras_layer(*(name for name in ACTIVATION_LAYERS if name != "Softmax"), masks=passed)(_activation_layer)


@keras_layer("Softmax", masks=passed)
def softmax_layer(layer: KerasLayer, x: Tensor) -> Tensor:
    """Softmax over one or more axes; positions that a mask leaves out get nothing."""
    return masked_softmax(layer, x, mask_of(x), layer.config)


def masked_softmax(layer: KerasLayer, x: Tensor, mask: Tensor | None, config: Mapping[str, Any]) -> Tensor:
    """Softmax where the mask is true; where it is false throughout, Keras 2 ignores it and Keras 3 gives zero."""
    if mask is None:
        return _softmax(config, x)
    if layer.dialect.generation is not Generation.KERAS_3:
        return _softmax(config, x + (~mask).to(x.dtype) * _FAR_BELOW)
    return _softmax(config, x.masked_fill(~mask, _FAR_BELOW)) * mask.to(x.dtype)


@keras_layer("Activation", masks=passed)
def activation(layer: KerasLayer, x: Tensor) -> Tensor:
    """Any activation by name."""
    return activated(layer, x)


@keras_layer("PReLU", variables=lambda _config, _dialect: ("alpha",), masks=passed)
def prelu(layer: KerasLayer, x: Tensor) -> Tensor:
    """A slope per position; shared axes have size 1 in `alpha`, so it broadcasts over a sample."""
    return torch.relu(x) - layer.array("alpha") * torch.relu(-x)


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    return default if value is None else float(_scalar(value))


def _scalar(value: Any) -> Any:
    # Keras 2.2 wrote numpy scalars as {"type": "ndarray", "value": 6.0}.
    return value["value"] if isinstance(value, Mapping) and "value" in value else value
