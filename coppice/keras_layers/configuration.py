"""Reading a Keras configuration: the spellings that differ between versions, behind one function each.

An *entry* is what Keras writes for one layer: `{"class_name": "Conv2D", "config": {...}, "inbound_nodes": ...}`. A
model is an entry too, so models nest. How layers are wired is in `graph.py`; what they compute, in the layer files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coppice.errors import ModelInvalid

Config = dict[str, Any]
Entry = dict[str, Any]

#: How SavedModels of Keras 2 write a tuple or a shape: {"class_name": "__tuple__", "items": [...]}.
_WRAPPED_SEQUENCES = frozenset({"__tuple__", "TensorShape"})
_SHAPE_KEYS = ("batch_shape", "batch_input_shape")
#: Modules of Keras itself, as files since TensorFlow 2.13 name them beside the class.
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow")


def is_wrapped(value: Any) -> bool:
    """Whether the value is a tuple or a shape in that spelling."""
    return isinstance(value, Mapping) and value.get("class_name") in _WRAPPED_SEQUENCES


def plain(value: Any) -> Any:
    """The value without the wrapping of tuples and shapes."""
    if is_wrapped(value):
        return list(value.get("items") or ())
    return value


def rewrapped(original: Any, items: Sequence[Any]) -> Any:
    """`items` in the form that the file used for `original`."""
    if isinstance(original, Mapping):
        return {**original, "items": list(items)}
    return list(items)


def whole(config: Mapping[str, Any], key: str, rank: int, default: int = 1) -> tuple[int, ...]:
    """`rank` whole numbers that may be written as one: `strides: 2` or `strides: [2, 2]`."""
    value = plain(config.get(key, default))
    if isinstance(value, int):
        return (value,) * rank
    if not isinstance(value, Sequence) or not all(isinstance(number, int) for number in value):
        raise ModelInvalid(
            f"layer {config.get('name')!r}: {key}={value!r} is not a list of whole numbers.", field=config.get("name")
        )
    numbers = tuple(value)
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) != rank:
        raise ModelInvalid(
            f"layer {config.get('name')!r}: {key}={value!r} has not {rank} numbers.", field=config.get("name")
        )
    return numbers


def class_name(entry: Entry) -> str:
    """The class as the file names it. A user's own may carry a prefix (`Custom>Scale`), which is kept."""
    return str(entry.get("class_name", ""))


def is_of_keras(entry: Entry) -> bool:
    """Whether the class is Keras' own as far as the file says; old files don't."""
    module = entry.get("module")
    return module is None or str(module).split(".", 1)[0] in _KERAS_MODULES


def is_model(entry: Entry) -> bool:
    """Whether the entry holds layers. Told by its structure, because a user's own Model class has its own name."""
    config = entry.get("config")
    return isinstance(config, list) or (isinstance(config, dict) and isinstance(config.get("layers"), list))


def is_functional(entry: Entry) -> bool:
    """Whether a model's entry says how its layers are wired; a Sequential is a chain and doesn't."""
    config = entry["config"]
    return isinstance(config, dict) and "output_layers" in config


def layer_entries(model: Entry) -> list[Entry]:
    """The layers of a model. Sequential was a bare list up to Keras 2.2.2."""
    config = model["config"]
    layers = config if isinstance(config, list) else config["layers"]
    if not all(isinstance(layer, dict) and "class_name" in layer and "config" in layer for layer in layers):
        raise ModelInvalid("the model's configuration has a layer without class_name or config.")
    return list(layers)


def layer_name(entry: Entry, position: int) -> str:
    """The layer's name; a Sequential written as a bare list inside another has none and gets its position."""
    config = entry["config"]
    given = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return str(given) if given else f"{class_name(entry).lower()}_{position}"


def named_entries(model: Entry) -> list[tuple[str, Entry]]:
    """The layers of a model with their names, in file order; two of one name are refused."""
    named = [(layer_name(entry, position), entry) for position, entry in enumerate(layer_entries(model))]
    names = [name for name, _ in named]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ModelInvalid(f"the model's configuration has two layers of one name: {', '.join(twice)}.")
    return named


def declared_shape(entry: Entry) -> list[int | None] | None:
    """The input shape, batch first, that the entry states: on an InputLayer, or on the first layer of a model."""
    config = entry["config"]
    if not isinstance(config, dict):
        return None
    for key in _SHAPE_KEYS:
        shape = plain(config.get(key))
        if isinstance(shape, list) and all(size is None or isinstance(size, int) for size in shape):
            return shape
    return None


def with_sizes(stated: Any, shape: Sequence[int]) -> Any:
    """A shape of the configuration with its numbers as they now are; what was open (`null`) stays open."""
    old = plain(stated)
    if not isinstance(old, list) or len(old) != len(shape):
        return stated
    return rewrapped(stated, [None if was is None else now for was, now in zip(old, shape, strict=True)])
