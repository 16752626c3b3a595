"""An upload of an ONNX model, and the way back to an ONNX file of the same opset, names and metadata."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import onnx
import torch
from torch import nn

from coppice.errors import ModelInvalid, ReloadFailed
from coppice.formats.dataset import Sent, other_size, sent_arrays
from coppice.formats.first_run import UNREADABLE, DoesNotRun, first_run
from coppice.formats.onnx.file import MAX_BYTES, read
from coppice.formats.onnx.inputs import FREE_SIZES, example_inputs, taken_inputs
from coppice.formats.onnx.network import build_network, graph_of, layers_of
from coppice.formats.onnx.quantized_already import refuse_quantized
from coppice.formats.onnx.runtime import compare
from coppice.formats.onnx.write import edited
from coppice.formats.samples import SMALL, Inputs, Read, usable
from coppice.formats.sniff import Kind, sniff
from coppice.formats.source import Latency, stem_of
from coppice.onnx_operators import OnnxNetwork
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Check, Report
from coppice.records.request import Part, Request
from coppice.tracing.network import Network, fade


def open_onnx(request: Request, files: Mapping[Part, Path]) -> OnnxSource:
    """Read the model and run it once; raises what says why that can't be."""
    return OnnxSource(request, files)


class OnnxSource:
    """An ONNX model that was read, and the interpreter's module of it."""

    def __init__(self, request: Request, files: Mapping[Part, Path]) -> None:
        path = files[Part.MODEL]
        self._name = request.files.get(Part.MODEL, path.name)
        self._model = read(path, self._name)
        self._was_zip = sniff(path) is Kind.ONNX_ZIP
        if request.quantization is not None:
            refuse_quantized(self._model, self._name)
        graph = graph_of(self._model)
        module = build_network(self._model, graph)
        sent = sent_arrays(request, files)
        given = _run_on_samples(module, sent, request) if sent is not None else Read(inputs=_run_once(module, request))
        self._module = module
        self._network = Network(
            module=module,
            inputs=given.inputs,
            layers=layers_of(graph, module),
            notes=given.notes,
            single=_single(module, given.inputs),
            samples=given.samples,
        )
        self._plan = Plan()
        self._exact = True
        self._notes: tuple[str, ...] = ()
        self._latencies: tuple[Latency, Latency] | None = None

    @property
    def network(self) -> Network:
        """The interpreter's module."""
        return self._network

    @property
    def stem(self) -> str:
        """The file's own."""
        return stem_of(self._name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the written file does otherwise."""
        return self._notes

    @property
    def latencies(self) -> tuple[Latency, Latency] | None:
        """As ONNX Runtime measured them."""
        return self._latencies

    def write(self, pruned: nn.Module, plan: Plan, report: Report, out: Path) -> tuple[Artifact, ...]:
        """Edit a copy of the user's model."""
        self._plan = plan
        # What was repaired is no longer the masked original; then the file is held to the module alone.
        self._exact = report.verification.check is not Check.STATISTICS and not report.repaired
        artifact = Artifact(name="model", file=self._file_name(), media_type="application/octet-stream")
        _save(edited(self._model, _network(pruned), self.network.inputs), out / artifact.file)
        self._notes = ("The weights, which were in files of their own, are in the .onnx now.",) if self._was_zip else ()
        return (artifact,)

    def reload(self, pruned: nn.Module, artifacts: tuple[Artifact, ...], out: Path) -> None:
        """Run the original, its masked copy and the written file in ONNX Runtime and compare."""
        written = next(out / artifact.file for artifact in artifacts if artifact.name == "model")
        masked = None
        if self._exact and self._plan:
            masked = edited(self._model, _zeroed(self.network, self._plan), self.network.inputs)
        self._latencies = compare(self._model, masked, written, (self._module, pruned), self.network)
        self._notes = (*self._notes, "Latencies are those of ONNX Runtime.")

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        """The user's own file with the module's tensors."""
        _save(edited(self._model, _network(module), self.network.inputs), path)

    def _file_name(self) -> str:
        return f"{self.stem}_pruned.onnx"


def _run_once(module: OnnxNetwork, request: Request) -> Inputs:
    """Inputs on which the module was run."""
    asked = request.input_size

    def attempt(free: int) -> Inputs:
        inputs = example_inputs(module.graph, asked, seed=request.seed, free=free)
        _run(module, inputs)
        return inputs

    sizes = FREE_SIZES if asked is None else FREE_SIZES[:1]
    hint = "" if asked is not None else " If the model wants inputs of a certain size, give input_size."
    return _first_run(module, [partial(attempt, free) for free in sizes], hint)


def _run_on_samples(module: OnnxNetwork, sent: Sent, request: Request) -> Read:
    """The same on what the user sent, as many samples as the graph takes at a time."""
    found = sent(taken_inputs(module.graph))
    batches = [entry.shape[0] for entry in module.graph.inputs if entry.shape]
    small = next((size for size in batches if isinstance(size, int) and size > 0), SMALL)

    def attempt(inputs: Inputs) -> Inputs:
        _run(module, inputs)
        return inputs

    def first(inputs: Inputs) -> None:
        if (other := other_size(inputs, request.input_size, found.source)) is not None:
            raise other
        _first_run(module, [partial(attempt, inputs)], f" The samples come from {found.source}.")

    return usable(found, module, seed=request.seed, small=small, first_run=first)


def _first_run(module: OnnxNetwork, attempts: Iterable[Callable[[], Inputs]], hint: str) -> Inputs:
    try:
        return first_run(module.children(), attempts)
    except DoesNotRun as e:
        where = f"node {e.where}" if e.where else "the input"
        raise ModelInvalid(f"the model does not run: at {where}: {e.reason}.{hint}") from e


def _single(module: OnnxNetwork, inputs: Inputs) -> Inputs:
    """One sample, where the graph takes one: the batch that it was exported with may be the only one that it takes."""
    free = [entry.shape is not None and not isinstance([*entry.shape, 1][0], int) for entry in module.graph.inputs]
    one = tuple(entry[:1] if may else entry for entry, may in zip(inputs, free, strict=True))
    try:
        _run(module, one)
    except UNREADABLE:
        return inputs
    return one


def _run(module: nn.Module, inputs: Inputs) -> None:
    with torch.no_grad():
        module(*inputs)


def _network(module: nn.Module) -> OnnxNetwork:
    if not isinstance(module, OnnxNetwork):
        raise TypeError(f"a {type(module).__name__} is no copy of an ONNX network")
    return module


def _zeroed(network: Network, plan: Plan) -> OnnxNetwork:
    """The whole network with zeros where the plan removes: the oracle's other side, for the file's own runtime."""
    module = copy.deepcopy(network.module)
    fade(module, plan.kept, lambda _: 0.0)
    return _network(module)


def _save(model: onnx.ModelProto, path: Path) -> None:
    if model.ByteSize() > MAX_BYTES:
        raise ReloadFailed(f"The pruned model has {model.ByteSize():,} bytes; an ONNX file can have {MAX_BYTES:,}.")
    onnx.save_model(model, path)
