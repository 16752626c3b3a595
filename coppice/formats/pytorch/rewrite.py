"""The file of weights as it came, with the pruned tensors in it: same format, wrapping, keys and types.

So the code that loaded the user's own file loads this one. What can't be brought along is left out and told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from coppice.formats.pytorch.plain_pickle import stand_ins
from coppice.formats.pytorch.state_dict import Fitted
from coppice.formats.pytorch.weights import MAX_NAMED, OPTIMIZER, Place, dotted, is_array
from coppice.formats.sniff import Kind
from coppice.records.plan import Plan


def state_as_it_came(model: nn.Module, fitted: Fitted) -> Mapping[str, Any]:
    """The model's state dict, each tensor in the type of the file."""
    state = model.state_dict()
    for name, kind in fitted.narrow.items():
        if name in state:
            state[name] = state[name].to(kind)
    return state


def rewrite(fitted: Fitted, model: nn.Module, plan: Plan, path: Path) -> tuple[str, ...]:
    """Write the file at `path`; returns what it lacks, a phrase each."""
    states = {fitted.place: _state(fitted, model)}
    first = _first_names(model)
    for place, names in fitted.copies:
        copy = states.setdefault(place, _like(fitted.weights.at(place)))
        copy.update({key: _cut(copy[key], plan.kept.get(first.get(name, name), {})) for key, name in names.items()})
    if fitted.weights.kind is Kind.SAFETENSORS:
        tensors = {key: value.contiguous().clone() for key, value in states[()].items()}
        save_file(tensors, path, metadata=dict(fitted.weights.metadata))
        return ()
    states = {place: _as_saved(state, fitted.weights.saved_at(place)) for place, state in states.items()}
    lacking: list[str] = []
    content = _rebuilt(fitted.weights.content, (), states, lacking, _listed_parameters(fitted, model, plan))
    # The format that it came in is the one that its readers know: torch before 1.6 opens no other.
    torch.save(content, path, _use_new_zipfile_serialization=fitted.weights.kind is not Kind.TORCH_LEGACY)
    return tuple(lacking)


def _state(fitted: Fitted, model: nn.Module) -> OrderedDict[str, Any]:
    """The state dict that was taken, in its own order and keys; what lies beside the model stays."""
    pruned = state_as_it_came(model, fitted)
    state = _like(fitted.weights.at(fitted.place))
    old = [key for key, name in fitted.keys.names.items() if name not in pruned]
    state.update({key: pruned[name] for key, name in fitted.keys.names.items() if name in pruned})
    if old:  # keys of an older release, which the model read by a hook of its own: it has other names for them now
        for key in old:
            del state[key]
        given = frozenset(fitted.keys.names.values())
        state.update({fitted.keys.prefix + name: pruned[name] for name in pruned if name not in given})
    return state


def _like(state: Mapping[str, Any]) -> OrderedDict[str, Any]:
    copy = OrderedDict(state)
    if hasattr(state, "_metadata"):
        copy._metadata = state._metadata  # type: ignore[attr-defined]  # torch's own convention
    return copy


def _as_saved(state: OrderedDict[str, Any], saved: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Arrays of numpy again where those of the file were."""
    arrays = [key for key, value in saved.items() if is_array(value) and key in state]
    state.update((key, state[key].numpy()) for key in arrays)
    return state


def _cut(tensor: torch.Tensor, kept: Mapping[int, tuple[int, ...]]) -> torch.Tensor:
    for axis, positions in kept.items():
        tensor = tensor.index_select(axis, torch.tensor(positions))
    return tensor


def _first_names(model: nn.Module) -> dict[str, str]:
    """The name that a plan has for a tensor, by all of its names."""
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors}


#: Parameters as the file has them, in the model's order: shape, and what is kept along which axis.
_Listed = list[tuple[torch.Size, Mapping[int, tuple[int, ...]]]]


def _listed_parameters(fitted: Fitted, model: nn.Module, plan: Plan) -> _Listed:
    state, keys = fitted.weights.at(fitted.place), {name: key for key, name in fitted.keys.names.items()}
    names = [name for name, _ in model.named_parameters() if name in keys]
    return [(state[keys[name]].shape, plan.kept.get(name, {})) for name in names]


def _rebuilt(content: Any, place: Place, states: Mapping[Place, Any], lacking: list[str], listed: _Listed) -> Any:
    """The content with other state dicts in their places, without what no longer fits or can't be made."""
    if place in states:
        return states[place]
    if not any(other[: len(place)] == place for other in states):
        return _portable(content, listed)
    kept = {}
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        if reason := _reason_to_drop(key, value):
            lacking.append(f"{dotted((*place, key))!r}, {reason}")
        else:
            kept[key] = _rebuilt(value, (*place, key), states, lacking, listed)
    if not isinstance(content, Mapping):  # what follows keeps its place
        return type(content)(kept.get(number) for number in range(len(content)))
    return OrderedDict(kept) if isinstance(content, OrderedDict) else kept


def _portable(value: Any, listed: _Listed) -> Any:
    """Plain data with Python's numbers for numpy's: those of numpy 2 open only where that is.

    A list of all parameters, as libraries keep their averages (pytorch_ema), is cut where the parameters are.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _portable(entry, listed)) for key, entry in value.items())
    if type(value) in (list, tuple):
        if listed and [getattr(entry, "shape", None) for entry in value] == [shape for shape, _ in listed]:
            return type(value)(_cut(entry, kept) for entry, (_, kept) in zip(value, listed, strict=True))
        return type(value)(_portable(entry, listed) for entry in value)
    return value


def _reason_to_drop(key: Any, value: Any) -> str:
    if isinstance(key, str) and OPTIMIZER.search(key) and not _is_plain(value):
        return "the optimizer's state, whose tensors have the sizes of before"
    if isinstance(value, Mapping) and "param_groups" in value:
        return "an optimizer's state, whose tensors have the sizes of before"
    if needed := sorted(stand_ins(value)):
        return f"which holds objects of {', '.join(needed[:MAX_NAMED])}"
    return ""


def _is_plain(value: Any) -> bool:
    """Names and settings of an optimizer, as scripts keep them in words and numbers."""
    return value is None or isinstance(value, (str, int, float, bool))
