"""How the layers of a model are wired, read from any dialect into one form.

A model is a list of calls in an order that can be run. Every call names a layer and holds its arguments as Keras
would pass them, with a `Ref` wherever a tensor stands. Weights and shapes are not here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coppice.errors import ModelInvalid
from coppice.keras_layers.configuration import Entry, class_name, is_functional, is_model, named_entries
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.tree import leaves, replaced


@dataclass(frozen=True, slots=True)
class Ref:
    """One result of one call: of layer `layer`, called for the `node`-th time, the `index`-th tensor."""

    layer: str
    node: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a layer; `done` are the tensors that nothing after it needs."""

    layer: str
    node: int
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    done: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A model's wiring."""

    inputs: tuple[Ref, ...]
    input_names: tuple[str, ...]
    calls: tuple[Call, ...]
    outputs: Any  # a Ref, or a list or dict of them, as the user's model returns it


def read_graph(model: Entry, dialect: Dialect) -> Graph:
    """The wiring of a Sequential or functional model."""
    inputs, calls, outputs = _functional(model, dialect) if is_functional(model) else _sequential(model)
    ordered = _in_order(calls, inputs)
    missing = [ref.layer for ref in leaves(outputs, Ref) if ref not in {*inputs, *_results(ordered, outputs)}]
    if missing:
        raise ModelInvalid(f"the model's outputs name {missing[0]!r}, which nothing in the configuration computes.")
    return Graph(
        inputs=tuple(inputs),
        input_names=tuple(ref.layer for ref in inputs),
        calls=_with_last_uses(ordered, outputs),
        outputs=outputs,
    )


def _sequential(model: Entry) -> tuple[list[Ref], list[Call], Any]:
    named = named_entries(model)
    first = next((name for name, entry in named if class_name(entry) == "InputLayer"), "input")
    source = here = Ref(first, 0, 0)
    calls = []
    for name, entry in named:
        if class_name(entry) == "InputLayer":
            continue
        calls.append(Call(layer=name, node=0, arguments=(here,), named={}))
        here = Ref(name, 0, 0)
    return [source], calls, here


def _functional(model: Entry, dialect: Dialect) -> tuple[list[Ref], list[Call], Any]:
    config = model["config"]
    inputs = leaves(_refs(config.get("input_layers")), Ref)
    outputs = _refs(config.get("output_layers"))
    if isinstance(outputs, list) and len(outputs) == 1:
        outputs = outputs[0]
    calls = [call for name, entry in named_entries(model) for call in _calls_of(name, entry)]
    shifts = _node_shifts(model, calls, outputs, dialect)

    def shifted(ref: Ref) -> Ref:
        return Ref(ref.layer, ref.node - shifts.get(ref.layer, 0), ref.index)

    moved = [
        Call(
            layer=call.layer,
            node=call.node,
            arguments=tuple(replaced(list(call.arguments), Ref, shifted)),
            named=replaced(call.named, Ref, shifted),
        )
        for call in calls
    ]
    return inputs, moved, replaced(outputs, Ref, shifted)


def _node_shifts(model: Entry, calls: list[Call], outputs: Any, dialect: Dialect) -> dict[str, int]:
    """Keras 2 counts the calls of a nested model from 1, since building the model was its call 0; Keras 3 from 0."""
    used: dict[str, set[int]] = {}
    for ref in leaves([[call.arguments, call.named] for call in calls], Ref) + leaves(outputs, Ref):
        used.setdefault(ref.layer, set()).add(ref.node)
    times = Counter(call.layer for call in calls)
    shifts: dict[str, int] = {}
    for name, entry in named_entries(model):
        if not is_model(entry) or 0 in used.get(name, {0}):
            continue
        beyond = max(used[name]) >= times[name]
        shifts[name] = 1 if beyond or dialect.generation is not Generation.KERAS_3 else 0
    return shifts


def _calls_of(name: str, entry: Entry) -> list[Call]:
    """The calls of one layer from its `inbound_nodes`; an InputLayer has none."""
    calls: list[Call] = []
    for node, written in enumerate(entry.get("inbound_nodes") or []):
        if isinstance(written, Mapping) and "args" in written:
            arguments, named = _keras_3_call(written)
        else:
            arguments, named = _keras_2_call(name, written)
        if arguments or named:
            calls.append(Call(layer=name, node=node, arguments=arguments, named=named))
    return calls


def _keras_3_call(written: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return tuple(_keras_tensors(written.get("args", []))), _keras_tensors(written.get("kwargs", {}))


def _keras_tensors(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        if tree.get("class_name") == "__keras_tensor__":
            layer, node, index = tree["config"]["keras_history"]
            return Ref(str(layer), int(node), int(index))
        if tree.get("class_name") in ("__numpy__", "__tensor__"):
            return tree["config"]["value"]
        return {key: _keras_tensors(branch) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [_keras_tensors(branch) for branch in tree]
    return tree


def _keras_2_call(name: str, written: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """`[["conv", 0, 0, {keywords}], ...]`, one item per tensor; a single one may stand un-nested, or in a dict."""
    if isinstance(written, Mapping):
        return ({key: _argument(item) for key, item in written.items()},), {}
    if not isinstance(written, list) or not written:
        raise ModelInvalid(f"the inbound_nodes of layer {name!r} can't be read.", field=name)
    items = [written] if isinstance(written[0], str) else written
    arguments = [_argument(item) for item in items]
    keywords = items[0][3] if len(items[0]) > 3 and isinstance(items[0][3], Mapping) else {}
    named = {key: _in_keyword(value) for key, value in keywords.items()}
    return (arguments[0] if len(arguments) == 1 else arguments,), named


def _looks_like_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 3
        and isinstance(value[0], str)
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value[1:3])
    )


def _argument(value: Any) -> Any:
    """A tensor by name, or a number that TensorFlow from 2.4 writes in its place."""
    if isinstance(value, list) and len(value) >= 3 and value[0] == "_CONSTANT_VALUE":
        return value[2]
    return _ref(value)


def _in_keyword(value: Any) -> Any:
    """Like `_argument`, but anything else is an ordinary value."""
    if _looks_like_ref(value):
        return _argument(value)
    if isinstance(value, list):
        return [_in_keyword(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _in_keyword(item) for key, item in value.items()}
    return value


def _ref(value: Any) -> Ref:
    if not _looks_like_ref(value):
        raise ModelInvalid(f"the configuration names a tensor as {value!r}; expected [layer, node, index].")
    return Ref(value[0], value[1], value[2])


def _refs(written: Any) -> Any:
    """`input_layers` and `output_layers`: a list of refs, one ref un-nested (Keras 3), or a dict of refs."""
    if _looks_like_ref(written):
        return _ref(written)
    if isinstance(written, Mapping):
        return {key: _refs(item) for key, item in written.items()}
    if isinstance(written, list):
        return [_refs(item) for item in written]
    raise ModelInvalid("the model's configuration has no readable input_layers and output_layers.")


def _in_order(calls: list[Call], inputs: list[Ref]) -> list[Call]:
    """The calls so that each comes after those it needs; those that the outputs don't need are kept too."""
    known = {(ref.layer, ref.node) for ref in inputs}
    waiting, ordered = list(calls), []
    while waiting:
        ready = [call for call in waiting if all((ref.layer, ref.node) in known for ref in _needs(call))]
        if not ready:
            names = ", ".join(sorted({call.layer for call in waiting})[:5])
            raise ModelInvalid(f"the inbound_nodes of {names} refer to tensors that nothing computes.")
        ordered.extend(ready)
        known.update((call.layer, call.node) for call in ready)
        done = {id(call) for call in ready}
        waiting = [call for call in waiting if id(call) not in done]
    return ordered


def _needs(call: Call) -> list[Ref]:
    return leaves([call.arguments, call.named], Ref)


def _results(calls: list[Call], outputs: Any) -> set[Ref]:
    """The outputs that some call computes."""
    made = {(call.layer, call.node) for call in calls}
    return {ref for ref in leaves(outputs, Ref) if (ref.layer, ref.node) in made}


def _with_last_uses(calls: list[Call], outputs: Any) -> tuple[Call, ...]:
    """The calls with the tensors that each is the last to use, so that a run doesn't hold them all."""
    needed = set(leaves(outputs, Ref))
    backwards: list[Call] = []
    for call in reversed(calls):
        done = tuple(dict.fromkeys(ref for ref in _needs(call) if ref not in needed))
        needed.update(done)
        backwards.append(Call(layer=call.layer, node=call.node, arguments=call.arguments, named=call.named, done=done))
    return tuple(reversed(backwards))
