"""The state dict of a file, fitted into the user's model: which one it is, under which keys, and what does not fit."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from coppice.errors import StateDictMismatch, UnknownFormat
from coppice.formats.pytorch.keys import Keys, match
from coppice.formats.pytorch.plain_pickle import stand_ins
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.formats.pytorch.weights import AVERAGE, FIELD, MAX_KEY, MAX_NAMED, Place, Weights, dotted, is_array
from coppice.formats.sniff import Kind
from coppice.records.advice import SHARDS

#: How the keys end that a quantized layer has and one in floats doesn't: torch's own, quanto's, bitsandbytes'.
_OF_QUANTIZED = ("._packed_params", ".zero_point", ".weight._data", ".weight._scale", ".SCB", ".weight.absmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a file of weights went into a model: what is needed to write another one like it."""

    weights: Weights
    #: Where in the file the model's state dict lies, and its keys.
    place: Place
    keys: Keys
    #: Copies of the model, averages most of them: where they lie, key of the file -> name in the model.
    copies: tuple[tuple[Place, Mapping[str, str]], ...] = ()
    #: Names of tensors that the file holds in fewer bits than the model -> the type they came in.
    narrow: Mapping[str, torch.dtype]
    notes: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the file is nothing but the model's own state dict, as today's torch.save writes it."""
        bare = not self.place and all(key == name for key, name in self.keys.names.items()) and not self.keys.others
        arrays = any(map(is_array, self.weights.saved_at(self.place).values()))
        return bare and not arrays and self.weights.kind is Kind.TORCH


def fit(module: nn.Module, weights: Weights) -> Fitted:
    """Load the file's tensors into the module; raises StateDictMismatch that names the keys and shapes at fault."""
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    found = _matches(weights, module.state_dict())
    place, keys = max(found, key=lambda entry: entry[1].found)
    state = weights.at(place)
    _refuse_objects(state, keys, weights.file)
    tensors = OrderedDict((name, state[key]) for key, name in keys.names.items())
    # Versions of the modules, by which torch reads the state dicts of its older releases; torch's own convention.
    metadata = getattr(state, "_metadata", {})
    tensors._metadata = {path: metadata[was] for was in metadata if (path := keys.module(was)) is not None}  # type: ignore[attr-defined]
    known = {name: tensor for name, tensor in own.items() if name in tensors and not torch.nn.parameter.is_lazy(tensor)}
    misfits = [
        f"{name} is {_shape(tensors[name])} in the file and {_shape(tensor)} in the model"
        for name, tensor in known.items()
        if _shape(tensors[name]) != _shape(tensor)
    ]
    misfits += [
        f"{name} is {tensors[name].dtype} in the file, as quantized weights are, and {tensor.dtype} in the model: its "
        "weights have to come in floats"
        for name, tensor in known.items()
        if tensor.is_floating_point() and tensor.dim() > 1 and _is_small(tensors[name])
    ]
    # Asked of torch, not compared by us: a module may take old keys by a hook of its own.
    missing, unexpected = ([], []) if misfits else _loaded(module, tensors, weights.file)
    parts = [
        _listed("missing from the file", [name for name in missing if not _is_shared(name, own, tensors)]),
        _listed("in the file but not in the model", unexpected),
        _listed("of another shape or type", misfits),
    ]
    if any(parts):
        raise StateDictMismatch(
            f"{weights.file} does not fit {type(module).__name__}: {'; '.join(part for part in parts if part)}. Send"
            f" the state dict of the very class in the class file.{_shard_advice(weights.file)}"
            f"{_float_advice(unexpected)}",
            field=FIELD,
        )
    copies = tuple(_copies(found, place, keys, weights, tensors))
    fitted = Fitted(
        weights=weights, place=place, keys=keys, copies=copies, narrow=dict(_narrow(tensors, module.state_dict()))
    )
    return replace(fitted, notes=tuple(_notes(fitted)))


def _matches(weights: Weights, everything: Mapping[str, Any]) -> list[tuple[Place, Keys]]:
    """The state dicts of the file and what they are to the model; raises when none of them fits and one is doubtful."""
    own = {name: value for name, value in everything.items() if isinstance(value, torch.Tensor)}
    found, doubt = [], None
    for place in weights.places:
        state = weights.at(place)
        beside = tuple(key for key, value in state.items() if key not in everything and _is_remark(key, value))
        try:
            keys = match([key for key in state if key not in beside], own.keys(), file=weights.file)
            found.append((place, replace(keys, others=(*keys.others, *beside))))
        except StateDictMismatch as e:
            doubt = doubt or e
    if doubt is not None and all(keys.found * 2 < len(own) for _, keys in found):
        raise doubt
    return found


def _is_remark(key: str, value: object) -> bool:
    """What scripts write among the tensors: `state["epoch"] = 3`."""
    return "." not in key and (value is None or isinstance(value, (str, int, float)))


def _copies(
    found: list[tuple[Place, Keys]],
    place: Place,
    keys: Keys,
    weights: Weights,
    tensors: Mapping[str, Any],
) -> Iterator[tuple[Place, Mapping[str, str]]]:
    """State dicts with the model's names and shapes beside the one that was taken."""
    candidates = [(place, names) for names in keys.copies.values()]
    candidates += [(other, found_keys.names) for other, found_keys in found if other != place]
    for other, names in candidates:
        state = weights.at(other)
        if set(names.values()) == tensors.keys() and all(
            _shape(state[key]) == _shape(tensors[name]) for key, name in names.items()
        ):
            yield other, names


def _notes(fitted: Fitted) -> Iterator[str]:
    file, place, keys = fitted.weights.file, fitted.place, fitted.keys
    if place:
        yield f"{file} is a checkpoint: its entry {dotted(place)!r} was taken for the model."
    if keys.prefix:
        yield f"The keys of {file} begin with {keys.prefix!r}, which stands in no name of the model: passed over."
    if any(AVERAGE.search(str(part)) for part in (*place, keys.prefix)):
        yield f"{file}: what was taken is called an average of the weights; there is no other copy."
    if fitted.copies:
        where = ", ".join(repr(dotted(other) if other != place else _before(names)) for other, names in fitted.copies)
        yield f"{file} also holds {where}, with the same keys and shapes: cut in the same places."
    if keys.others:
        yield f"{_listed(f'{file}: beside the model, and left as it is', list(keys.others))}."
    if fitted.narrow:
        types = ", ".join(sorted({str(kind).removeprefix("torch.") for kind in fitted.narrow.values()}))
        yield (
            f"{file} is of {types} and the class computes in more: there the cut was checked. The state dict comes back"
            f" in {types}, without loss; the pickled model is of the types of its class."
        )


def _narrow(tensors: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, torch.dtype]]:
    for name, given in tensors.items():
        held = own.get(name)
        if not isinstance(given, torch.Tensor) or not isinstance(held, torch.Tensor) or given.dtype == held.dtype:
            continue
        # Asked of the numbers: float8 has no promotion rules.
        if given.is_floating_point() and given.element_size() <= held.element_size() and _holds(held, given):
            yield name, given.dtype


def _is_small(given: Any) -> bool:
    return isinstance(given, torch.Tensor) and given.dtype in (torch.int8, torch.uint8)


def _holds(held: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether the model has exactly the file's numbers."""
    return torch.equal(held.to(given.dtype).to(held.dtype).nan_to_num(), held.nan_to_num())


def _before(names: Mapping[str, str]) -> str:
    key, name = next(iter(names.items()))
    return key.removesuffix(name)


def _loaded(module: nn.Module, tensors: Mapping[str, Any], file: str) -> tuple[list[str], list[str]]:
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, TypeError, AttributeError) as e:  # a tensor that does not copy, or a hook of the user's
        if is_out_of_memory(e):
            raise
        raise StateDictMismatch(
            f"{file} does not load into {type(module).__name__}: {last_line(e)}", field=FIELD
        ) from e
    return missing, unexpected


def _refuse_objects(state: Mapping[str, Any], keys: Keys, file: str) -> None:
    for key in keys.names:
        if needed := stand_ins(state[key]):
            raise UnknownFormat(
                f"{file} holds more than tensors: {key} needs {', '.join(sorted(needed))}. Save only"
                f" torch.save(model.state_dict(), FILE).",
                field=FIELD,
            )


def _is_shared(name: str, own: Mapping[str, torch.Tensor], tensors: Mapping[str, Any]) -> bool:
    """Whether a missing tensor is another name of one that was given, as safetensors leaves them out."""
    return any(
        other in own and own[other].shape == own[name].shape and own[other].data_ptr() == own[name].data_ptr()
        for other in tensors
    )


def _shard_advice(file: str) -> str:
    return f" {SHARDS}" if re.search(r"-\d{5}-of-\d{5}", file) else ""


def _float_advice(unexpected: list[str]) -> str:
    """Said where the file is of a model that torch quantized: what its layers are then made of."""
    key = next((name for name in unexpected if name.endswith(_OF_QUANTIZED)), None)
    told = f" It is of a model that is quantized already ({key}): send that in floats that it was made from."
    return told if key else ""


def _listed(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return f"{what}: {', '.join(item[:MAX_KEY] for item in items[:MAX_NAMED])}{more}"


def _shape(value: object) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
