"""Sizes that a configuration states, brought into agreement with the tensors as they now are.

The new shapes are not computed by rules of their own: the network is run once and every layer's inputs are looked at.
Edited are: what a layer's row in the table states (`filters`, `units`, `target_shape`, ...), input shapes of nested
models, and the shapes that newer dialects repeat (`build_config`, the tensors of `inbound_nodes`). Nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coppice.errors import ForwardFailed, UnsupportedLayer
from coppice.keras_layers.configuration import Entry, named_entries, plain, with_sizes
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.operations import edit_wired_sizes
from coppice.keras_layers.table import Shapes
from coppice.keras_layers.tree import tensors_in

if TYPE_CHECKING:
    from coppice.keras_layers.network import KerasNetwork

_SHAPE_KEYS = ("batch_shape", "batch_input_shape")


class Seen:
    """The shapes of one run: of every module's calls, inputs and results."""

    def __init__(self) -> None:
        self.calls: dict[nn.Module, list[tuple[Shapes, Shapes]]] = {}
        #: Of the first call, by keyword.
        self.named: dict[nn.Module, dict[str, Shapes]] = {}

    def note(self, module: nn.Module, inputs: Any, named: Mapping[str, Any], result: Any) -> None:
        """Keep the shapes of one call; a forward hook."""
        self.calls.setdefault(module, []).append((_shapes(inputs), _shapes(result)))
        self.named.setdefault(module, {key: _shapes(value) for key, value in named.items()})

    def inputs(self, module: nn.Module) -> Shapes | None:
        """Of the first call, None where there was none."""
        calls = self.calls.get(module)
        return calls[0][0] if calls else None


def _shapes(tree: Any) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in tensors_in(tree))


def watched(network: KerasNetwork, inputs: tuple[Tensor, ...]) -> Seen:
    """Run the network and see the shapes that every layer gets and gives."""
    seen = Seen()
    hooks = [module.register_forward_hook(seen.note, with_kwargs=True) for module in network.modules()]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def remember_built_shapes(network: KerasNetwork, inputs: tuple[Tensor, ...]) -> None:
    """Note what the configuration's sizes were written for, before anything is cut."""
    seen = watched(network, inputs)
    network.example_shapes = _shapes(inputs)
    network.example_types = tuple(tensor.dtype for tensor in inputs)
    _remember(network, seen)


def _remember(network: KerasNetwork, seen: Seen) -> None:
    for module in network.modules():
        if isinstance(module, KerasLayer):
            module.built_shapes = seen.inputs(module) or ()


def bring_up_to_date(network: KerasNetwork) -> None:
    """Edit the network's own configuration. Running it twice changes nothing more."""
    if not network.example_shapes:
        return  # a nested model: the outermost one edits it, knowing what it is called with
    floating = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    inputs = tuple(
        torch.zeros(shape, dtype=floating if kind.is_floating_point else kind)
        for shape, kind in zip(network.example_shapes, network.example_types, strict=True)
    )
    was_training = network.training
    network.eval()
    seen = _watched_cut(network, inputs)
    network.train(was_training)
    _edit_model(network, seen)
    _remember(network, seen)


def _watched_cut(network: KerasNetwork, inputs: tuple[Tensor, ...]) -> Seen:
    """`watched`, of a network that may have lost channels which a number of the configuration counts on."""
    at: list[str] = []
    layers = [part for part in network.modules() if isinstance(part, KerasLayer)]
    hooks = [part.register_forward_pre_hook(lambda part, _: at.append(str(part.layer_name))) for part in layers]
    try:
        return watched(network, inputs)
    except (RuntimeError, ValueError, LookupError, TypeError, UnsupportedLayer) as e:
        where = f" at layer {at[-1]!r}" if at else ""
        raise ForwardFailed(f"The configuration counts on the old widths{where}: {str(e).splitlines()[0]}") from e
    finally:
        for hook in hooks:
            hook.remove()


def _edit_model(network: KerasNetwork, seen: Seen) -> None:
    shapes = _input_shapes(network, seen)
    for name, entry in named_entries(network.entry):
        module = network.layer(name) if name in network.submodule_names else None
        own = [shapes[name]] if name in shapes else list((seen.inputs(module) if module is not None else None) or ())
        if module is not None:
            _edit_layer(module, seen)
        elif own:
            _edit_stated_shapes(entry, own)
    first = next(iter(shapes.values()), None)
    if first is not None:
        _edit_stated_shapes(network.entry, [first])
    _edit_wiring(network, shapes, seen)
    network.rewired()


def _edit_layer(module: nn.Module, seen: Seen) -> None:
    """A layer and what it holds; a part that is not called by itself (a cell) still states its units."""
    own = seen.inputs(module) or ()
    if hasattr(module, "graph"):
        _edit_model(module, seen)  # type: ignore[arg-type]  # only networks have a graph
    elif isinstance(module, KerasLayer):
        module.row.follow(module)
        module.entry["config"].update(_changed(module.config, module.row.sizes(module, own)))
        edit_wired_sizes(module, own)
        for part in module.children():
            _edit_layer(part, seen)
    if own:
        _edit_stated_shapes(module.entry, list(own))  # type: ignore[arg-type]  # all our modules have an entry
        _edit_shapes_by_name(module.entry, list(own), seen.named[module])  # type: ignore[arg-type]


def _input_shapes(network: KerasNetwork, seen: Seen) -> dict[str, tuple[int, ...]]:
    given = seen.inputs(network) or ()
    return {ref.layer: shape for ref, shape in zip(network.graph.inputs, given, strict=False)}


def _changed(config: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Only keys that the file has, and only where the value is another: what it doesn't state stays unstated."""
    return {key: value for key, value in sizes.items() if key in config and plain(config[key]) != plain(value)}


def _edit_stated_shapes(entry: Entry, shapes: list[tuple[int, ...]]) -> None:
    """Input shapes in an entry and in its build record."""
    config = entry["config"]
    if isinstance(config, dict):
        for key in (*_SHAPE_KEYS, "build_input_shape"):
            if key in config:
                config[key] = with_sizes(config[key], shapes[0])
    record = entry.get("build_config")
    if isinstance(record, dict) and "input_shape" in record:
        stated = plain(record["input_shape"])
        if isinstance(stated, list) and stated and isinstance(plain(stated[0]), list):
            record["input_shape"] = [with_sizes(one, new) for one, new in zip(stated, shapes, strict=False)]
        else:
            record["input_shape"] = with_sizes(record["input_shape"], shapes[0])


def _edit_shapes_by_name(entry: Entry, positional: list[tuple[int, ...]], named: Mapping[str, Shapes]) -> None:
    """Build records of layers with several inputs: `query_shape`, `initial_state_shape`, each named after its input."""
    record = entry.get("build_config")
    stated = record.get("shapes_dict") if isinstance(record, dict) else None
    if not isinstance(stated, dict):
        return
    for key in stated:
        given = list(named.get(key.removesuffix("_shape"), ())) or positional[:1]
        if given == positional[:1]:
            positional = positional[1:]
        old = plain(stated[key])
        if isinstance(old, list) and old and isinstance(plain(old[0]), list):
            stated[key] = [with_sizes(one, new) for one, new in zip(old, given, strict=False)]
        elif given:
            stated[key] = with_sizes(stated[key], given[0])


def _edit_wiring(network: KerasNetwork, inputs: Mapping[str, tuple[int, ...]], seen: Seen) -> None:
    """The shapes that Keras 3 writes beside every tensor of `inbound_nodes`."""
    made = _made_shapes(network, inputs, seen)
    for _, entry in named_entries(network.entry):
        for tensor in _keras_tensors(entry.get("inbound_nodes")):
            layer, node, index = tensor["keras_history"]
            shape = made.get((layer, node, index))
            if shape is not None and "shape" in tensor:
                tensor["shape"] = with_sizes(tensor["shape"], shape)


def _made_shapes(
    network: KerasNetwork, inputs: Mapping[str, tuple[int, ...]], seen: Seen
) -> dict[tuple[str, int, int], tuple[int, ...]]:
    made = {(name, 0, 0): shape for name, shape in inputs.items()}
    times: dict[str, int] = {}
    for call in network.graph.calls:
        calls = seen.calls.get(network.layer(call.layer), [])
        number = times.get(call.layer, 0)
        times[call.layer] = number + 1
        if number < len(calls):
            for index, shape in enumerate(calls[number][1]):
                made[call.layer, call.node, index] = shape
    return made


def _keras_tensors(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if tree.get("class_name") == "__keras_tensor__":
            yield tree["config"]
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _keras_tensors(branch)
