"""What every layer of a SavedModel takes, gives, holds and states, before and after a cut.

Seen in one run of the interpreter on either configuration, and put beside the objects of the SavedModel by walking
both from the outermost model inwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import nn

from coppice.formats.keras.file import KerasFile, LayerPath
from coppice.formats.keras.network import open_model
from coppice.formats.saved_model.constants import CantEdit
from coppice.formats.saved_model.held import HELD, SIZELESS
from coppice.formats.saved_model.objects import SavedLayer, SavedObjects
from coppice.formats.saved_model.sizes import Call, LayerSizes, Resized
from coppice.keras_layers import KerasNetwork
from coppice.keras_layers.configuration import Entry, is_model, named_entries, plain
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.resizing import Seen, watched
from coppice.keras_layers.rows import parts_of


def resized(saved: SavedObjects, original: KerasFile, edited: KerasFile) -> dict[LayerPath, Resized]:
    """Every layer and nested model of the SavedModel by its path; raises CantEdit for one that can't be told."""
    was, now = _Run(original).sizes(saved), _Run(edited).sizes(saved)
    found: dict[LayerPath, Resized] = {}
    for layer in saved.layers:
        if layer.path in was:
            found[layer.path] = Resized(node=layer.node, was=was[layer.path], now=now[layer.path])
            continue
        owner, kind = found.get(layer.path[:-1]), str(layer.metadata.get("class_name"))
        if kind not in SIZELESS and (owner is None or owner.changed):
            around = "the model" if owner is None else f"a {owner.was.kind} that was cut"
            raise CantEdit(f"{'/'.join(layer.path)} ({kind}) is of {around}, and no configuration tells its sizes")
        same = LayerSizes(kind=kind, entry={"config": layer.metadata["config"]})
        found[layer.path] = Resized(node=layer.node, was=same, now=same)
    return found


class _Run:
    """One run of the interpreter."""

    def __init__(self, file: KerasFile) -> None:
        network = open_model(file).network
        self._root = cast(KerasNetwork, network.module)
        self._seen: Seen = watched(self._root, network.inputs)

    def sizes(self, saved: SavedObjects) -> dict[LayerPath, LayerSizes]:
        """The layers of the SavedModel that are known here."""
        modules: dict[LayerPath, nn.Module] = {(): self._root}
        sizes: dict[LayerPath, LayerSizes] = {}
        for layer in saved.layers:
            around = layer.path[:-1]
            module = _inside(modules.get(around), layer)
            if module is not None:
                modules[layer.path] = module
                sizes[layer.path] = self._of_module(module)
            elif (rule := HELD.get((_kind(sizes.get(around)), layer.edge))) is not None:
                sizes[layer.path] = rule(sizes[around])
            elif (entry := _entry(modules.get(around), layer)) is not None:
                sizes[layer.path] = _of_input(entry)
        return sizes

    def _of_module(self, module: nn.Module) -> LayerSizes:
        entry = cast(Entry, module.entry)
        target = plain(entry["config"].get("target_shape")) if not is_model(entry) else None
        return LayerSizes(
            kind=str(module.class_name),
            calls=tuple(Call(inputs=taken, outputs=given) for taken, given in self._seen.calls.get(module, [])),
            arrays={
                name: tuple(tensor.shape) for name, tensor in [*module.named_parameters(), *module.named_buffers()]
            },
            target=tuple(target or ()),
            entry=entry,
        )


def _kind(owner: LayerSizes | None) -> str:
    return "" if owner is None else owner.kind


def _inside(around: nn.Module | None, layer: SavedLayer) -> nn.Module | None:
    """The interpreter's module of a layer, below that of what holds it."""
    if isinstance(around, KerasNetwork):
        return around.layer(layer.path[-1]) if layer.path[-1] in around.submodule_names else None
    if isinstance(around, KerasLayer):
        parts = parts_of(around.entry, around.layer_name, around.dialect)
        return next((around.part(part.name) for part in parts if part.group == layer.edge), None)
    return None


def _entry(around: nn.Module | None, layer: SavedLayer) -> Entry | None:
    """The entry of a layer that computes nothing and so is no module: an InputLayer."""
    if not isinstance(around, KerasNetwork):
        return None
    return dict(named_entries(around.entry)).get(layer.path[-1])


def _of_input(entry: Entry) -> LayerSizes:
    shapes = tuple(_stated(entry))
    calls = (Call(inputs=shapes, outputs=shapes),) if shapes else ()
    return LayerSizes(kind=str(entry.get("class_name")), calls=calls, entry=entry)


def _stated(entry: Entry) -> Iterator[tuple[int, ...]]:
    shape = plain(entry["config"].get("batch_input_shape"))
    if isinstance(shape, list):
        yield tuple(size or 0 for size in shape)
