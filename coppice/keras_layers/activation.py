"""Activations: the functions that other layers name in `activation`, and the layers that are nothing else.

A function that isn't in the table is a user's own. It is passed over (see `barrier.py`), never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.barrier import opaque
from coppice.keras_layers.configuration import plain
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.table import keras_layer

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


def activated(layer: KerasLayer, x: Tensor) -> Tensor:
    """`x` through the activation that the layer's configuration names."""
    stated = layer.config.get("activation")
    if stated is None:
        return x
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


def unknown_activation(config: Mapping[str, Any], dialect: Dialect) -> str | None:
    """The name of an activation that can't be computed, if the configuration has one."""
    stated = config.get("activation")
    if isinstance(stated, Mapping):
        name, inner = str(stated.get("class_name", "")), stated.get("config")
        if name == "function":
            return None if function_named(str(inner), dialect) else str(inner)
        return None if name in ACTIVATION_LAYERS else name
    return None if stated is None or function_named(str(stated), dialect) else str(stated)


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


keras_layer(*ACTIVATION_LAYERS)(_activation_layer)


@keras_layer("Activation")
def activation(layer: KerasLayer, x: Tensor) -> Tensor:
    """Any activation by name."""
    return activated(layer, x)


@keras_layer("PReLU", variables=lambda _config, _dialect: ("alpha",))
def prelu(layer: KerasLayer, x: Tensor) -> Tensor:
    """A slope per position; shared axes have size 1 in `alpha`, so it broadcasts over a sample."""
    return torch.relu(x) - layer.array("alpha") * torch.relu(-x)


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    return default if value is None else float(_scalar(value))


def _scalar(value: Any) -> Any:
    # Keras 2.2 wrote numpy scalars as {"type": "ndarray", "value": 6.0}.
    return value["value"] if isinstance(value, Mapping) and "value" in value else value
