"""From a Keras model at rest to one that runs, and back: where the arrays of a file become tensors of a module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from coppice.errors import CoppiceError, HostileFile, ModelInvalid, UnsupportedLayer, VersionUnsupported
from coppice.formats.dataset import Sent, Takes
from coppice.formats.first_run import UNREADABLE, DoesNotRun, first_run
from coppice.formats.keras.file import Array, KerasFile, StoredArray, StoredLayer
from coppice.formats.samples import Inputs, Read, usable
from coppice.keras_layers import Generation, KerasNetwork
from coppice.keras_layers.binding import LayerPath, Place
from coppice.keras_layers.configuration import class_name, is_model
from coppice.keras_layers.examples import OPEN_SIZES, declared_inputs, example_inputs
from coppice.keras_layers.network import build
from coppice.keras_layers.resizing import remember_built_shapes
from coppice.tracing.network import Layer, Network, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A file's model, ready to run; `origins` says where each tensor of the module stands in the file."""

    file: KerasFile
    network: Network
    origins: Mapping[str, Place]

    def edited(self, pruned: nn.Module) -> KerasFile:
        """The file with the configuration and the arrays of a pruned copy of the network's module."""
        if not isinstance(pruned, KerasNetwork):
            raise TypeError(f"a {type(pruned).__name__} is no copy of a Keras network")
        tensors = pruned.as_stored(stored(pruned))
        values = {place: tensors[name] for name, place in self.origins.items()}
        layers = tuple(_edited_layer(layer, values) for layer in self.file.layers)
        return replace(self.file, config=pruned.entry, layers=layers)


def open_model(file: KerasFile, *, seed: int = 0, sent: Sent | None = None) -> OpenModel:
    """Build the interpreter's module of a file and run it once, so that what can't work fails here, by name.

    It runs on random inputs of the shape that the file declares, or on the samples that were sent.
    """
    entry = dict(file.config)
    if file.dialect.generation is Generation.KERAS_1:
        raise VersionUnsupported(
            f"the file was written by Keras {file.dialect.keras_version}, whose layers mean other things. Load it with "
            "Keras 2 and save it again."
        )
    if not is_model(entry):
        raise UnsupportedLayer(
            f"the model is a {class_name(entry)} whose wiring is Python code that the file doesn't hold. Build it as a "
            "Sequential or functional model and save it again."
        )
    shelf = {layer.path: [(array.name, array.value) for array in layer.arrays] for layer in file.layers}
    try:
        module, origins = build(entry, shelf, file.dialect)
    except RecursionError as e:
        raise HostileFile("the model's configuration nests models beyond reason.") from e
    except UNREADABLE as e:
        raise ModelInvalid(f"the model's configuration can't be read: {type(e).__name__}: {str(e)[:200]}.") from e
    read = _run_on_samples(module, sent, seed) if sent is not None else Read(inputs=_run_once(module, seed))
    network = Network(
        module=module,
        inputs=read.inputs,
        layers=layers_of(module),
        notes=(*_notes(module), *read.notes),
        samples=read.samples,
    )
    return OpenModel(file=file, network=network, origins=origins)


def layers_of(module: KerasNetwork) -> tuple[Layer, ...]:
    """The layers as `model.summary()` lists them, inner ones after their model; a name used twice gets its path."""
    parts = [(path, part) for path, part in module.named_modules() if path]
    times = Counter(str(part.layer_name) for _, part in parts)
    return tuple(
        Layer(
            name=str(part.layer_name) if times[str(part.layer_name)] == 1 else path.replace(".", "/"),
            path=path,
            kind=str(part.class_name),
        )
        for path, part in parts
    )


def _run_once(module: KerasNetwork, seed: int) -> Inputs:
    """Inputs on which the module was run, its layers remembering the shapes that their configuration was made for."""
    return _first_run(module, [partial(_examples, module, seed, size) for size in OPEN_SIZES])


def _run_on_samples(module: KerasNetwork, sent: Sent, seed: int) -> Read:
    """The same on what the user sent."""
    takes = [Takes(name=one.name, shape=one.shape, dtype=one.dtype) for one in declared_inputs(module)]

    def remember(inputs: Inputs) -> Inputs:
        remember_built_shapes(module, inputs)
        return inputs

    def first(inputs: Inputs) -> None:
        _first_run(module, [partial(remember, inputs)])

    return usable(sent(takes), module, seed=seed, first_run=first)


def _examples(module: KerasNetwork, seed: int, size: int) -> Inputs:
    inputs = example_inputs(module, seed=seed, open_size=size)
    remember_built_shapes(module, inputs)
    return inputs


def _first_run(module: KerasNetwork, attempts: Iterable[Callable[[], Inputs]]) -> Inputs:
    layers = [part for part in module.modules() if not isinstance(part, KerasNetwork)]
    try:
        return first_run(layers, attempts)
    except DoesNotRun as e:
        raise _mismatch(module, f"layer {e.where}" if e.where else "the input", e.reason) from e


def _mismatch(module: KerasNetwork, where: str, reason: str) -> CoppiceError:
    passed = module.passed_over
    if passed:
        names = ", ".join(f"{one.layer!r} ({one.kind})" for one in passed[:8])
        return UnsupportedLayer(
            f"Coppice can't compute {names}, and what comes after doesn't fit its input: at {where}: {reason}. "
            "Replace it by standard Keras layers.",
            field=passed[0].layer,
        )
    return ModelInvalid(f"the arrays don't fit the configuration: at {where}: {reason}.")


def _notes(module: KerasNetwork) -> Iterator[str]:
    for one in module.passed_over:
        yield (
            f"{one.layer} ({one.kind}) is nothing that Coppice can compute, and was not run: its channels stay, and "
            "the numeric check took it for the identity."
        )


def _edited_layer(layer: StoredLayer, values: Mapping[tuple[LayerPath, int], Tensor]) -> StoredLayer:
    return replace(
        layer,
        arrays=tuple(
            StoredArray(name=array.name, value=_stored(values[layer.path, position], array.value))
            if (layer.path, position) in values
            else array
            for position, array in enumerate(layer.arrays)
        ),
    )


def _stored(tensor: Tensor, original: Array) -> Array:
    """The tensor as the file kept it: half precision goes back to half."""
    cpu = tensor.detach().to("cpu")
    if cpu.dtype is torch.bfloat16:
        cpu = cpu.float()
    return cpu.numpy().astype(original.dtype, copy=False)
