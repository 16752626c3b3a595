"""Arithmetic between layers: `x + y`, `tf.nn.relu(x)`, slices. Three dialects write it as a layer of the graph.

TensorFlow 2.3 stores the graph node (`TensorFlowOpLayer`), later ones the function's name (`TFOpLambda`), Keras 3 an
operation that has the *class name of a layer* and is told apart by its module. All three end in one table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Entry, class_name, plain
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.table import LayerClass, keras_layer

#: Function of `(arguments, keywords)`, which hold tensors and numbers as the user's call did.
Operation = Callable[..., Any]


def _divide(x: Any, y: Any) -> Any:
    return x / y


def _maximum(x: Any, y: Any) -> Tensor:
    return torch.clamp(x, min=float(y)) if not isinstance(y, Tensor) else torch.maximum(x, y)


def _minimum(x: Any, y: Any) -> Tensor:
    return torch.clamp(x, max=float(y)) if not isinstance(y, Tensor) else torch.minimum(x, y)


def _concatenate(xs: list[Tensor], axis: int = -1) -> Tensor:
    return torch.cat(xs, dim=int(axis))


def _mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    axes = plain(axis)
    return x.mean(dim=tuple(axes) if isinstance(axes, list) else axes, keepdim=bool(keepdims))


def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, dim=int(axis))


def _reshape(x: Tensor, shape: Any) -> Tensor:
    # Only what keeps the batch and leaves the rest to be computed can survive a cut.
    return x.reshape([x.shape[0] if size is None else int(size) for size in plain(shape)])


#: One name per meaning; the tables below say how each dialect spells it.
_MEANINGS: dict[str, Operation] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": _divide,
    "maximum": _maximum,
    "minimum": _minimum,
    "concatenate": _concatenate,
    "mean": _mean,
    "negative": lambda x: -x,
    "absolute": torch.abs,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "relu": torch.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": F.elu,
    "softplus": F.softplus,
    "softmax": _softmax,
    "hard_sigmoid": F.hardsigmoid,  # as an operation it exists in Keras 3 only
    "hard_silu": F.hardswish,
    "reshape": _reshape,
    "identity": lambda x: x,
}

_TENSORFLOW_FUNCTIONS: dict[str, str] = {
    "__operators__.add": "add",
    "math.add": "add",
    "add": "add",
    "math.subtract": "subtract",
    "subtract": "subtract",
    "math.multiply": "multiply",
    "multiply": "multiply",
    "math.divide": "divide",
    "math.truediv": "divide",
    "truediv": "divide",
    "math.maximum": "maximum",
    "math.minimum": "minimum",
    "concat": "concatenate",
    "math.reduce_mean": "mean",
    "math.negative": "negative",
    "math.abs": "absolute",
    "math.square": "square",
    "math.sqrt": "sqrt",
    "math.exp": "exp",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.sigmoid": "sigmoid",
    "math.sigmoid": "sigmoid",
    "math.tanh": "tanh",
    "nn.silu": "silu",
    "nn.swish": "silu",
    "nn.gelu": "gelu",
    "nn.elu": "elu",
    "nn.softplus": "softplus",
    "nn.softmax": "softmax",
    "reshape": "reshape",
    "identity": "identity",
}

_GRAPH_NODES: dict[str, str] = {
    "Add": "add",
    "AddV2": "add",
    "BiasAdd": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "RealDiv": "divide",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Neg": "negative",
    "Abs": "absolute",
    "Square": "square",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Elu": "elu",
    "Softplus": "softplus",
    "Softmax": "softmax",
    "Identity": "identity",
}

_KERAS_3_OPERATIONS: dict[str, str] = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Concatenate": "concatenate",
    "Mean": "mean",
    "Negative": "negative",
    "Absolute": "absolute",
    "Square": "square",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Silu": "silu",
    "Gelu": "gelu",
    "Elu": "elu",
    "Softplus": "softplus",
    "Softmax": "softmax",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
}

#: Arguments that only name the node or ask for a type.
_IGNORED = frozenset({"name", "training", "mask", "dtype"})


def is_operation(entry: Entry) -> bool:
    """Whether a Keras 3 entry is an operation in spite of its class name.

    `.keras` files name the module; in `.h5` files only a layer's configuration says whether it trains.
    """
    module = entry.get("module")
    if module is not None:
        return str(module).startswith("keras.src.ops")
    calls = entry.get("inbound_nodes") or []
    written_by_keras_3 = bool(calls) and isinstance(calls[0], Mapping) and "args" in calls[0]
    return written_by_keras_3 and "trainable" not in entry["config"]


def operation_row(entry: Entry) -> LayerClass | None:
    """The row of a Keras 3 operation, None where it isn't known."""
    meaning = _KERAS_3_OPERATIONS.get(class_name(entry))
    return None if meaning is None else LayerClass(call=_keras_3_operation)


def is_known_function(entry: Entry) -> bool:
    """Whether a TFOpLambda or TensorFlowOpLayer does something that is in the table."""
    config = entry["config"]
    if class_name(entry) == "TFOpLambda":
        return config.get("function") in _TENSORFLOW_FUNCTIONS
    return _node_of(config).get("op") in _GRAPH_NODES


def _keras_3_operation(layer: KerasLayer, *arguments: Any, **named: Any) -> Any:
    meaning = _KERAS_3_OPERATIONS[layer.class_name]
    stated: dict[str, Any] = {key: layer.config[key] for key in ("axis", "keepdims") if key in layer.config}
    return _computed(layer, meaning, arguments, {**stated, **named})


@keras_layer("TFOpLambda")
def function_layer(layer: KerasLayer, *arguments: Any, **named: Any) -> Any:
    """A TensorFlow function by its public name, from TensorFlow 2.4."""
    return _computed(layer, _TENSORFLOW_FUNCTIONS[layer.config["function"]], arguments, named)


@keras_layer("TensorFlowOpLayer")
def graph_node_layer(layer: KerasLayer, inputs: Any) -> Any:
    """A node of TensorFlow 2.3's graph; its constant operands stand beside it, by position."""
    tensors = list(inputs) if isinstance(inputs, list) else [inputs]
    for position, constant in sorted(_constants(layer), key=lambda item: item[0]):
        tensors.insert(position, torch.as_tensor(constant, dtype=tensors[0].dtype, device=tensors[0].device))
    return _computed(layer, _GRAPH_NODES[_node_of(layer.config)["op"]], tuple(tensors), {})


def _constants(layer: KerasLayer) -> list[tuple[int, Any]]:
    constants = layer.config.get("constants") or {}
    return [(int(position), plain(value)) for position, value in constants.items()]


def _node_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    node = config.get("node_def")
    decoded = json.loads(node) if isinstance(node, str) else node
    return decoded if isinstance(decoded, Mapping) else {}


def _computed(layer: KerasLayer, meaning: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    keywords = {key: value for key, value in named.items() if key not in _IGNORED and value is not None}
    try:
        return _MEANINGS[meaning](*arguments, **_renamed(keywords))
    except TypeError as e:
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} ({layer.class_name}) calls {meaning} with arguments that Coppice doesn't "
            f"know: {', '.join(keywords) or 'none by name'}.",
            field=layer.layer_name,
        ) from e


#: TensorFlow's and Keras' names for the same argument.
_ARGUMENT_NAMES = {"x2": "y", "x1": "x", "features": "x", "logits": "x", "input_tensor": "x", "tensor": "x"}


def _renamed(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {_ARGUMENT_NAMES.get(key, key): value for key, value in keywords.items()}


@keras_layer("SlicingOpLambda", "GetItem")
def slicing(layer: KerasLayer, x: Tensor, key: Any = None, slice_spec: Any = None, **_named: Any) -> Tensor:
    """`x[:, 1:, ..., 0]`, as TensorFlow from 2.4 and Keras 3 write it."""
    parts = plain(slice_spec if key is None else key)
    parts = parts if isinstance(parts, list) else [parts]
    index = tuple(_index(layer, part) for part in parts)
    picked: Tensor = x[index]
    return picked


def _index(layer: KerasLayer, part: Any) -> Any:
    if isinstance(part, Mapping):
        kind = part.get("class_name")
        if kind == "__ellipsis__":
            return Ellipsis
        bounds = part.get("config", part)
        if isinstance(bounds, Mapping) and "start" in bounds:
            return slice(bounds["start"], bounds["stop"], bounds["step"])
        if kind == "slice" or kind == "__slice__":
            return slice(*part.get("config", {}).get("args", ()))
    if part is None or isinstance(part, int):
        return part
    raise UnsupportedLayer(f"layer {layer.layer_name!r} takes a slice that Coppice can't read: {part!r}.")
