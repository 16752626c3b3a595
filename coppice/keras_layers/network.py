"""A Keras model as a torch module: its layers as submodules, its wiring as the forward.

`module(*inputs)` computes what `model(inputs)` computes in the file's own dialect. The module holds its own copy of
the configuration, and `resized` brings that copy into agreement with tensors that were sliced.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coppice.keras_layers.activation import unknown_activation
from coppice.keras_layers.barrier import Barrier
from coppice.keras_layers.binding import LayerPath, Place, Shelf, bind
from coppice.keras_layers.configuration import Entry, class_name, is_model, named_entries
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.graph import Graph, Ref, read_graph
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.resizing import bring_up_to_date
from coppice.keras_layers.rows import row_of
from coppice.keras_layers.tree import replaced, tensors_in


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A layer, or the activation of one, that is not computed."""

    layer: str
    kind: str


class KerasNetwork(nn.Module):
    """A Sequential or functional model, or one nested in another."""

    def __init__(self, *, entry: Entry, graph: Graph, layers: Mapping[str, nn.Module], name: str = "") -> None:
        super().__init__()
        self.layer_name = name
        self.class_name = class_name(entry)
        self.entry = entry
        self.graph = graph
        self.inference_only = False
        #: What the inputs of this very configuration were when it was built, batch included.
        self.example_shapes: tuple[tuple[int, ...], ...] = ()
        self.example_types: tuple[torch.dtype, ...] = ()
        #: Keras layer name -> submodule name, which may not hold a dot nor be an attribute of a module.
        self.submodule_names: dict[str, str] = {}
        for layer_name, layer in layers.items():
            submodule = self._free_name(layer_name)
            self.submodule_names[layer_name] = submodule
            self.add_module(submodule, layer)

    def _free_name(self, layer_name: str) -> str:
        name = layer_name.replace(".", "_") or "_"
        while hasattr(self, name):
            name += "_"
        return name

    def layer(self, name: str) -> nn.Module:
        """The submodule of the Keras layer of that name."""
        return self.get_submodule(self.submodule_names[name])

    def train(self, mode: bool = True) -> KerasNetwork:
        """Training mode, except for a nested model that its user calls with training=False."""
        super().train(mode and not self.inference_only)
        return self

    def forward(self, *inputs: Any) -> Any:
        """The outputs in the structure of the user's model: a tensor, a list or a dict of them."""
        values: dict[Ref, Tensor] = dict(zip(self.graph.inputs, self._in_order(inputs), strict=True))
        for call in self.graph.calls:
            arguments = replaced(list(call.arguments), Ref, values.__getitem__)
            named = replaced(call.named, Ref, values.__getitem__)
            result = self.layer(call.layer)(*arguments, **_without_mode(named))
            for index, tensor in enumerate(tensors_in(result)):
                values[Ref(call.layer, call.node, index)] = tensor
            for ref in call.done:
                del values[ref]
        return replaced(self.graph.outputs, Ref, values.__getitem__)

    def _in_order(self, inputs: tuple[Any, ...]) -> list[Tensor]:
        """The input tensors as the graph numbers them: given one by one, as a list, or as a dict by input name."""
        if len(inputs) == 1 and isinstance(inputs[0], Mapping) and set(inputs[0]) == set(self.graph.input_names):
            return [inputs[0][name] for name in self.graph.input_names]
        return tensors_in(inputs)

    def resized(self) -> None:
        """Bring the configuration into agreement with the sliced tensors (see `resizing.py`)."""
        bring_up_to_date(self)

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """What is not computed, nested models included."""
        return tuple(self._passed_over())

    def _passed_over(self) -> Iterator[PassedOver]:
        for module in self.modules():
            if isinstance(module, Barrier):
                yield PassedOver(layer=module.layer_name, kind=module.class_name)
            elif isinstance(module, KerasLayer):
                function = unknown_activation(module.config, module.dialect)
                if function is not None:
                    yield PassedOver(layer=module.layer_name, kind=f"activation {function}")


def _without_mode(named: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords without those that say how to run and not what: `training` is settled when the network is built."""
    return {key: value for key, value in named.items() if key not in ("training", "mask")}


def build(model: Entry, shelf: Shelf, dialect: Dialect) -> tuple[KerasNetwork, dict[str, Place]]:
    """The network of a configuration and its arrays, and for each of its tensors where it came from."""
    own = copy.deepcopy(dict(model))
    bound = bind(own, shelf, dialect)
    network = _network(own, bound, shelf, dialect, path=())
    return network.eval(), dict(_origins(network, bound, (), ""))


def _network(
    entry: Entry, bound: Mapping[LayerPath, Mapping[str, Place]], shelf: Shelf, dialect: Dialect, *, path: LayerPath
) -> KerasNetwork:
    layers: dict[str, nn.Module] = {}
    for name, inner in named_entries(entry):
        if class_name(inner) == "InputLayer":
            continue
        inner_path = (*path, name)
        if is_model(inner):
            layers[name] = _network(inner, bound, shelf, dialect, path=inner_path)
        else:
            layers[name] = _leaf(inner, bound.get(inner_path, {}), shelf, dialect, name=name)
    graph = read_graph(entry, dialect)
    for name in _called_for_inference(graph):
        layers[name].inference_only = True  # type: ignore[assignment]  # a bool attribute of both our module classes
    return KerasNetwork(entry=entry, graph=graph, layers=layers, name=path[-1] if path else "")


def _leaf(entry: Entry, places: Mapping[str, Place], shelf: Shelf, dialect: Dialect, *, name: str) -> nn.Module:
    arrays = {variable: _tensor(shelf[path][position][1]) for variable, (path, position) in places.items()}
    row = row_of(entry, name)
    if row is None:
        return Barrier(name=name, entry=entry, arrays=arrays)
    return KerasLayer(name=name, entry=entry, row=row, arrays=arrays, dialect=dialect)


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array's own memory as a tensor; half precision is computed in single, as Keras' mixed policies keep it."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    tensor = torch.from_numpy(native if native.flags.writeable else native.copy())
    return tensor.float() if tensor.dtype is torch.float16 else tensor


def _called_for_inference(graph: Graph) -> set[str]:
    """Layers that every call runs with training=False, as transfer learning does with a frozen base."""
    modes: dict[str, set[bool]] = {}
    for call in graph.calls:
        modes.setdefault(call.layer, set()).add(call.named.get("training") is False)
    return {name for name, seen in modes.items() if seen == {True}}


def _origins(
    network: KerasNetwork, bound: Mapping[LayerPath, Mapping[str, Place]], path: LayerPath, prefix: str
) -> Iterator[tuple[str, Place]]:
    for name, submodule in network.submodule_names.items():
        layer = network.layer(name)
        if isinstance(layer, KerasNetwork):
            yield from _origins(layer, bound, (*path, name), f"{prefix}{submodule}.")
        else:
            for variable, place in bound.get((*path, name), {}).items():
                yield f"{prefix}{submodule}.{variable}", place
