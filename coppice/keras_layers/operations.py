"""Arithmetic between layers: `x + y`, `tf.nn.relu(x)`, slices, reshapes. Three dialects write it as a layer.

TensorFlow 2.3 stores the graph node (`TensorFlowOpLayer`), later ones the function's name (`TFOpLambda`), Keras 3 an
operation that has the *class name of a layer* and is told apart by its module. All three end in `meanings.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Config, Entry, class_name, plain, rewrapped
from coppice.keras_layers.graph_nodes import NODES
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.meanings import MEANINGS, picked
from coppice.keras_layers.reshape import followed_with_batch
from coppice.keras_layers.spellings import (
    ARGUMENTS,
    ARGUMENTS_OF,
    IGNORED,
    KERAS_3_OPERATIONS,
    TENSORFLOW_FUNCTIONS,
)
from coppice.keras_layers.table import LayerClass, Shapes, keras_layer


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
    meaning = KERAS_3_OPERATIONS.get(class_name(entry))
    if meaning is None:
        return None
    return LayerClass(call=_keras_3_operation, sizes=_keras_3_sizes)


def is_known_function(entry: Entry) -> bool:
    """Whether a TFOpLambda or TensorFlowOpLayer does something that is in the table."""
    config = entry["config"]
    if class_name(entry) == "TFOpLambda":
        return config.get("function") in TENSORFLOW_FUNCTIONS
    return _node_of(config).get("op") in NODES


def _keras_3_operation(layer: KerasLayer, *arguments: Any, **named: Any) -> Any:
    return _computed(layer, KERAS_3_OPERATIONS[layer.class_name], arguments, {**layer.config, **named})


@keras_layer("TFOpLambda")
def function_layer(layer: KerasLayer, *arguments: Any, **named: Any) -> Any:
    """A TensorFlow function by its public name, from TensorFlow 2.4."""
    return _computed(layer, TENSORFLOW_FUNCTIONS[layer.config["function"]], arguments, named)


def _node_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    node = config.get("node_def")
    decoded = json.loads(node) if isinstance(node, str) else node
    return decoded if isinstance(decoded, Mapping) else {}


def _node_sizes(layer: KerasLayer, shapes: Shapes) -> Config:
    """The target of a Reshape node stands among its constants."""
    constants = layer.config.get("constants") or {}
    if _node_of(layer.config).get("op") != "Reshape" or "1" not in constants or not layer.built_shapes:
        return {}
    target = _followed(plain(constants["1"]), layer.built_shapes[0], shapes[0])
    return {"constants": {**constants, "1": rewrapped(constants["1"], target)}}


@keras_layer("TensorFlowOpLayer", sizes=_node_sizes)
def graph_node_layer(layer: KerasLayer, inputs: Any) -> Any:
    """A node of TensorFlow 2.3's graph; its constant operands stand beside it, by position."""
    operands = list(inputs) if isinstance(inputs, list) else [inputs]
    for position, constant in sorted(
        (int(position), plain(value)) for position, value in (layer.config.get("constants") or {}).items()
    ):
        operands.insert(position, constant)
    node = _node_of(layer.config)
    if node["op"] == "Reshape" and layer.built_shapes:
        operands[1] = _followed(operands[1], layer.built_shapes[0], tuple(operands[0].shape))
    try:
        return NODES[node["op"]](operands, node.get("attr") or {})
    except (TypeError, KeyError) as e:
        raise _unknown_arguments(layer, node["op"], [str(e)]) from e


def _computed(layer: KerasLayer, meaning: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    if str(named.get("data_format")) in ("channels_first", "NCHW"):
        raise _unknown_arguments(layer, meaning, ["data_format"])
    ignored = IGNORED - {"dtype"} if meaning == "cast" else IGNORED
    spelled = {**ARGUMENTS, **ARGUMENTS_OF.get(meaning, {})}
    keywords: dict[str, Any] = {}
    for key, value in named.items():
        own = spelled.get(key, key)
        # Two names for one option, of which the one that is not asked for is written too: transpose_a, adjoint_a.
        if key not in ignored and value is not None and not (value is False and own in keywords):
            keywords[own] = value
    try:
        if meaning == "reshape":
            return _reshaped(layer, *arguments, **keywords)
        return MEANINGS[meaning](*arguments, **keywords)
    except (TypeError, KeyError) as e:
        raise _unknown_arguments(layer, meaning, list(keywords)) from e


def _unknown_arguments(layer: KerasLayer, meaning: str, keywords: Sequence[str]) -> UnsupportedLayer:
    return UnsupportedLayer(
        f"layer {layer.layer_name!r} ({layer.class_name}) calls {meaning} with arguments that Coppice doesn't "
        f"know: {', '.join(keywords) or 'none by name'}.",
        field=layer.layer_name,
    )


def _reshaped(layer: KerasLayer, x: Tensor, shape: Any) -> Tensor:
    """A reshape whose numbers follow the input, from what it was when the numbers were written."""
    stated = shape.tolist() if isinstance(shape, Tensor) else [_number(size) for size in plain(shape)]
    was = layer.built_shapes
    return x.reshape(_followed(stated, was[0], tuple(x.shape)) if was else [-1 if s is None else s for s in stated])


def _number(size: Any) -> int | None:
    return None if size is None else int(size)


def _followed(target: Sequence[Any], was: tuple[int, ...], now: tuple[int, ...]) -> list[int]:
    return list(followed_with_batch(tuple(-1 if size is None else int(size) for size in target), was, now))


def _keras_3_sizes(layer: KerasLayer, shapes: Shapes) -> Config:
    """The target of a reshape, which Keras 3 keeps in the operation's configuration."""
    stated = plain(layer.config.get("newshape"))
    if layer.class_name != "Reshape" or not isinstance(stated, list) or not layer.built_shapes:
        return {}
    target = _followed(stated, layer.built_shapes[0], shapes[0])
    kept_open = [old if old in (None, -1) else new for old, new in zip(stated, target, strict=True)]
    return {"newshape": rewrapped(layer.config["newshape"], kept_open)}


def edit_wired_sizes(layer: KerasLayer, shapes: Shapes) -> None:
    """Bring the numbers of a TFOpLambda reshape up to date, which stand in the wiring, beside its input."""
    if TENSORFLOW_FUNCTIONS.get(str(layer.config.get("function"))) != "reshape" or not layer.built_shapes:
        return
    for call in layer.entry.get("inbound_nodes") or []:
        keywords = call[-1] if isinstance(call, list) and call and isinstance(call[-1], dict) else {}
        stated = plain(keywords.get("shape"))
        if isinstance(stated, list) and all(isinstance(size, int) for size in stated):
            target = _followed(stated, layer.built_shapes[0], shapes[0])
            keywords["shape"] = [was if was == -1 else new for was, new in zip(stated, target, strict=True)]


@keras_layer("SlicingOpLambda", "GetItem")
def slicing(layer: KerasLayer, x: Tensor, key: Any = None, slice_spec: Any = None, **_named: Any) -> Tensor:
    """`x[:, 1:, ..., 0]`, as TensorFlow from 2.4 and Keras 3 write it."""
    parts = plain(slice_spec if key is None else key)
    parts = parts if isinstance(parts, list) else [parts]
    index = tuple(_index(layer, part) for part in parts)
    return picked(x, index)


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
    if isinstance(part, Tensor):
        return int(part)
    if part is None or isinstance(part, int):
        return part
    raise UnsupportedLayer(
        f"layer {layer.layer_name!r} takes a slice that Coppice can't read: {part!r}. Slice by plain numbers.",
        field=layer.layer_name,
    )
