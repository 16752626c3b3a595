"""ONNX Runtime's word: in a process of its own it runs the original, its masked copy and the written file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from coppice.errors import BadUpload, ReloadFailed, VerificationFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.source import Latency
from coppice.onnx_operators import OnnxNetwork
from coppice.tracing.network import Network

Inputs = tuple[Tensor, ...]

SCRIPT = "onnx/clean_runtime.py"
#: Three sessions and a second of timing; a large model on a busy machine may take minutes.
SECONDS = 300


def compare(
    model: onnx.ModelProto,
    masked: onnx.ModelProto | None,
    written: Path,
    modules: tuple[OnnxNetwork, nn.Module],
    network: Network,
) -> tuple[Latency, Latency]:
    """Check the written file; gives what one sample took in ONNX Runtime before and after.

    Raises BadUpload where the runtime doesn't take the original, VerificationFailed where the interpreter computes it
    otherwise than the runtime, ReloadFailed where the written file gives something else.
    """
    # Beside the file: temporary folders may be small, and these hold the model twice.
    with tempfile.TemporaryDirectory(dir=written.parent, prefix=".runtime-") as name:
        folder = Path(name)
        job = {"pruned": str(written.absolute()), "original": _stored(model, folder / "original.onnx")}
        if masked is not None:
            job["masked"] = _stored(masked, folder / "masked.onnx")
        names = [entry.name for entry in modules[0].graph.inputs]
        for kind, inputs in {"inputs": network.inputs, "sample": network.sample}.items():
            _save(folder / f"{kind}.npz", dict(zip(names, inputs, strict=True)))
        for kind, module in zip(("original", "pruned"), modules, strict=True):
            outputs = _outputs(module, network.inputs)
            _save(folder / f"{kind}.npz", {str(number): one for number, one in enumerate(outputs)})
        job["folder"] = str(folder)
        try:
            verdict = run_clean(SCRIPT, job, folder, seconds=SECONDS)
        except CleanProcessFailed as e:
            raise ReloadFailed(f"ONNX Runtime did not run the written file: {e}") from e
    for kind, error in (("original", BadUpload), ("interpreted", VerificationFailed), ("pruned", ReloadFailed)):
        if reason := verdict["failures"].get(kind):
            raise error(reason)
    before, after = (Latency(milliseconds=middle, spread=spread) for middle, spread in verdict["latencies"])
    return before, after


def _outputs(module: nn.Module, inputs: Inputs) -> list[Tensor]:
    with torch.no_grad():
        found = module(*inputs)
    return found if isinstance(found, list) else [found]


def _stored(model: onnx.ModelProto, path: Path) -> str:
    onnx.save_model(model, path)
    return str(path)


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    # The names are the user's: behind a letter none of them is one that savez has for itself.
    arrays: dict[str, Any] = {f"_{name}": tensor.numpy() for name, tensor in tensors.items()}
    np.savez(path, **arrays)
