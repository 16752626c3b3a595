"""ONNX Runtime's word on a quantized file: in a process of its own it runs it, says what with, and times it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from coppice.errors import ReloadFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.onnx.quantized_names import LayerNames
from coppice.formats.onnx.quantized_prepared import batch, declared
from coppice.formats.quantized import Quantizing
from coppice.formats.source import Latency
from coppice.records.report import Arithmetic
from coppice.tracing.samples import Samples

SCRIPT = "onnx/clean_quantized.py"
SECONDS = 600
#: Samples that a file is run on at a time, where it takes any number.
BATCH = 32
#: What ONNX Runtime puts behind the name of what a node gives, to name the node by, where it blocks its channels.
_BLOCKED = "_nchwc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of running a file."""

    runtime: str
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int]
    arithmetic: Arithmetic
    #: Layers with products in floats.
    floating: tuple[str, ...]
    latencies: tuple[Latency, Latency]


def run(task: Quantizing, quantized: Path, floats: Path, folder: Path) -> Run:
    """Run a file on the samples held out, or on the example inputs; raises ReloadFailed."""
    network = task.source.network
    held_out = _samples(task)
    model = onnx.load(quantized)
    names = declared(model)
    for kind, inputs in {"inputs": held_out.inputs, "sample": network.sample}.items():
        save(folder / f"{kind}.npz", dict(zip(names, inputs, strict=True)))
    job = {
        "quantized": str(quantized.absolute()),
        "floats": str(floats.absolute()),
        "folder": str(folder.absolute()),
        "batch": held_out.only or batch(model, BATCH),
    }
    try:
        verdict = run_clean(SCRIPT, job, folder, seconds=SECONDS)
    except CleanProcessFailed as e:
        raise ReloadFailed(f"ONNX Runtime did not run the quantized file: {e}") from e
    if verdict["failure"]:
        raise ReloadFailed(f"ONNX Runtime does not run the quantized file: {verdict['failure']}")
    products: list[tuple[str, str, bool]] = verdict["products"]
    layers = LayerNames(network.layers)
    before, after = (Latency(milliseconds=middle, spread=spread) for middle, spread in verdict["latencies"])
    with np.load(folder / "outputs.npz") as arrays:
        outputs = tuple(torch.from_numpy(array) for array in arrays.values())
    return Run(
        runtime=f"ONNX Runtime {verdict['version']}",
        outputs=outputs,
        operators=dict(Counter(operator for operator, _, _ in products)),
        arithmetic=_arithmetic([whole for _, _, whole in products]),
        floating=tuple(dict.fromkeys(layers.of(_written(node, model)) for _, node, whole in products if not whole)),
        latencies=(before, after),
    )


def _written(node: str, model: onnx.ModelProto) -> str:
    """The name of a node in the file: one whose channels the runtime blocks is named after what it gives instead."""
    if not node.endswith(_BLOCKED):
        return node
    made = node.removesuffix(_BLOCKED)
    return next((one.name for one in model.graph.node if made in one.output), node)


def check(task: Quantizing, outputs: tuple[Tensor, ...], tolerance: float | None) -> None:
    """Hold outputs to those of the rounded module; where there is no tolerance, to shapes and to being numbers."""
    samples = _samples(task)
    few = next(samples.batches(BATCH))
    with torch.no_grad():
        found = task.model.module.eval()(*few.inputs)
    expected = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
    for number, (got, want) in enumerate(zip(outputs, expected, strict=True)):
        if got.shape[1:] != want.shape[1:]:
            raise ReloadFailed(
                f"Output {number} of the quantized file has the shape {tuple(got.shape)[1:]} and not "
                f"{tuple(want.shape)[1:]}."
            )
        if not want.is_floating_point():
            continue
        got, want = got[: len(want)].double(), want.double()
        if want.isfinite().all() and not got.isfinite().all():
            raise ReloadFailed(f"Output {number} of the quantized file is not finite: its numbers are too large.")
        worst = float((got - want).abs().max() / want.abs().max().clamp(min=1e-30)) if want.numel() else 0.0
        if tolerance is not None and worst > tolerance:
            raise ReloadFailed(f"Output {number} of the quantized file differs by {worst:.1e} from the rounded model.")


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors in a file of arrays."""
    # The names are the user's: behind a letter none of them is one that savez has for itself.
    arrays: dict[str, Any] = {f"_{name}": tensor.numpy() for name, tensor in tensors.items()}
    np.savez(path, **arrays)


def _samples(task: Quantizing) -> Samples:
    if task.held_out is not None and len(task.held_out):
        return task.held_out
    inputs = task.source.network.inputs
    size = next((entry.shape[0] for entry in inputs if entry.dim()), 1)
    return Samples(inputs=inputs, only=size)


def _arithmetic(whole: list[bool]) -> Arithmetic:
    if not any(whole):
        return Arithmetic.FLOAT
    return Arithmetic.INTEGER if all(whole) else Arithmetic.MIXED
