"""Keras' own JSON record of each layer in a SavedModel, brought into agreement with an edited configuration.

Beside the configuration the record repeats the shape of the layer's input in several forms; each keeps its form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coppice.formats.saved_model.constants import CantEdit
from coppice.formats.saved_model.sizes import Shape
from coppice.keras_layers.configuration import Entry, plain, with_sizes

JsonObject = dict[str, Any]

#: Keys under which the record states what the layer takes.
_STATED = ("build_input_shape", "batch_input_shape", "save_spec", "full_save_spec", "input_spec")


def edited_record(record: JsonObject, was: Entry, now: Entry, inputs: Sequence[tuple[Shape, Shape]]) -> JsonObject:
    """The record of a layer whose entry in the configuration became another; `inputs` are its shapes, old and new."""
    edited = {**record, "config": _merged(record["config"], was["config"], now["config"])}
    if "model_config" in record:
        inner = record["model_config"]
        edited["model_config"] = {**inner, "config": _merged(inner["config"], was["config"], now["config"])}
    return edited | {key: _followed(record[key], inputs) for key in _STATED if key in record}


def _merged(stated: Any, was: Any, now: Any) -> Any:
    """`stated` with every key that differs between the two configurations."""
    if not (isinstance(stated, Mapping) and isinstance(was, Mapping) and isinstance(now, Mapping)):
        return now
    changes = {key: value for key, value in now.items() if key not in was or was[key] != value}
    return {**stated, **changes}


def _followed(value: Any, inputs: Sequence[tuple[Shape, Shape]]) -> Any:
    if _is_shape(value):
        return _new_shape(value, inputs)
    if isinstance(value, Mapping):
        return {key: _axes(one, inputs) if key == "axes" else _followed(one, inputs) for key, one in value.items()}
    if isinstance(value, list):
        # One shape per input, in order, as merging layers state them.
        if len(value) == len(inputs) > 1 and all(_is_shape(one) for one in value):
            return [_new_shape(one, [pair]) for one, pair in zip(value, inputs, strict=True)]
        return [_followed(one, inputs) for one in value]
    return value


def _is_shape(value: Any) -> bool:
    sizes = plain(value)
    return isinstance(sizes, list) and bool(sizes) and all(size is None or type(size) is int for size in sizes)


def _new_shape(stated: Any, inputs: Sequence[tuple[Shape, Shape]]) -> Any:
    sizes = plain(stated)
    answers = {new for old, new in inputs if _is_of(sizes, old)}
    if len(answers) > 1:
        raise CantEdit(f"a layer's record states the shape {sizes} of more than one input")
    return with_sizes(stated, answers.pop()) if answers else stated


def _is_of(sizes: list[int | None], shape: Shape) -> bool:
    return len(sizes) == len(shape) and all(
        stated is None or stated == size for stated, size in zip(sizes, shape, strict=True)
    )


def _axes(axes: Mapping[str, int], inputs: Sequence[tuple[Shape, Shape]]) -> dict[str, int]:
    """`{"-1": 64}`: the sizes that an InputSpec holds fixed, by axis."""
    answers = [
        {axis: new[int(axis)] for axis in axes}
        for old, new in inputs
        if all(-len(old) <= int(axis) < len(old) and old[int(axis)] == size for axis, size in axes.items())
    ]
    return answers[0] if answers else dict(axes)
