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

from coppice.keras_layers.activation import unknown_activations
from coppice.keras_layers.barrier import Barrier
from coppice.keras_layers.binding import LayerPath, Place, Shelf, bind
from coppice.keras_layers.configuration import Entry, class_name, is_model, named_entries
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.graph import Graph, Ref, read_graph
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.resizing import bring_up_to_date
from coppice.keras_layers.rows import parts_of, row_of
from coppice.keras_layers.tree import replaced, tensors_in


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A layer, or the activation of one, that is not computed."""

    layer: str
    kind: str


class KerasNetwork(nn.Module):
    """A Sequential or functional model, or one nested in another."""

    def __init__(self, *, entry: Entry, dialect: Dialect, layers: Mapping[str, nn.Module], name: str = "") -> None:
        super().__init__()
        self.dialect = dialect
        self.layer_name = name
        self.class_name = class_name(entry)
        self.entry = entry
        self.graph: Graph = read_graph(entry, dialect)
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

    def forward(self, *inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002  # masks ride on the tensors
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

    def as_stored(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The module's tensors, by name, in the layout of the file."""
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            owner, _, variable = name.rpartition(".")
            layer = self.get_submodule(owner)
            found[name] = layer.row.layout.write(variable, tensor) if isinstance(layer, KerasLayer) else tensor
        return found

    def resized(self) -> None:
        """Bring the configuration into agreement with the sliced tensors (see `resizing.py`)."""
        bring_up_to_date(self)

    def rewired(self) -> None:
        """Read the wiring anew from the configuration, of which numbers beside tensors have changed."""
        self.graph = read_graph(self.entry, self.dialect)

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """What is not computed, nested models included."""
        return tuple(self._passed_over())

    def _passed_over(self) -> Iterator[PassedOver]:
        for module in self.modules():
            if isinstance(module, Barrier):
                yield PassedOver(layer=module.layer_name, kind=module.class_name)
            elif isinstance(module, KerasLayer):
                for function in unknown_activations(module.config, module.dialect):
                    yield PassedOver(layer=module.layer_name, kind=f"activation {function}")


def _without_mode(named: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords without the one that says how to run and not what: `training` is settled when the network is built."""
    return {key: value for key, value in named.items() if key != "training"}


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
        layers[name] = _module(inner, bound, shelf, dialect, path=(*path, name))
    network = KerasNetwork(entry=entry, dialect=dialect, layers=layers, name=path[-1] if path else "")
    for name in _called_for_inference(network.graph):
        layers[name].inference_only = True  # type: ignore[assignment]  # a bool attribute of both our module classes
    return network


def _module(
    entry: Entry, bound: Mapping[LayerPath, Mapping[str, Place]], shelf: Shelf, dialect: Dialect, *, path: LayerPath
) -> nn.Module:
    if is_model(entry):
        return _network(entry, bound, shelf, dialect, path=path)
    places = bound.get(path, {})
    arrays = {variable: _tensor(shelf[owner][position][1]) for variable, (owner, position) in places.items()}
    row = row_of(entry, path[-1])
    if row is None:
        return Barrier(name=path[-1], entry=entry, arrays=arrays)
    parts = {
        part.name: _module(part.entry, bound, shelf, dialect, path=(*path, part.name))
        for part in parts_of(entry, path[-1], dialect)
    }
    laid_out = {variable: row.layout.read(variable, array) for variable, array in arrays.items()}
    return KerasLayer(name=path[-1], entry=entry, row=row, arrays=laid_out, dialect=dialect, parts=parts)


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
    module: nn.Module, bound: Mapping[LayerPath, Mapping[str, Place]], path: LayerPath, prefix: str
) -> Iterator[tuple[str, Place]]:
    for variable, place in bound.get(path, {}).items():
        yield f"{prefix}{variable}", place
    names = (
        module.submodule_names
        if isinstance(module, KerasNetwork)
        else {name: name for name, _ in module.named_children()}
    )
    for name, submodule in names.items():
        yield from _origins(module.get_submodule(submodule), bound, (*path, name), f"{prefix}{submodule}.")
