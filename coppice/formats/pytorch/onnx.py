"""The pruned model as ONNX, where it exports: written, and run by onnxruntime in a process of its own.

An export that fails is no failure of the job: the reason is for the report.
"""

from __future__ import annotations

import inspect
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from coppice.errors import UnsupportedLayer
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.pytorch.named_inputs import names_of
from coppice.formats.pytorch.user_errors import last_line, trimmed
from coppice.tracing.network import Network

#: An export takes a few times a forward pass; a graph of thousands of nodes some seconds more.
EXPORT_SECONDS = 60
CHECK_SECONDS = 60


class _InOrder(nn.Module):
    """A model whose inputs have names, as one that takes them in order: the exporter fills in what lies between."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.model(*inputs)


def _has_options(module: nn.Module) -> bool:
    """Whether forward takes more by keyword alone, with defaults: the exporter would give these in order."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)


class NotExportable(Exception):
    """The model has no ONNX form that gives its outputs; the message is the reason."""


def write_onnx(pruned: nn.Module, network: Network, path: Path) -> None:
    """Write `path` and check it; raises NotExportable and leaves nothing behind."""
    try:
        _export(pruned, network, path)
        _check(pruned, network, path)
    except NotExportable:
        path.unlink(missing_ok=True)
        raise
    except Exception as e:  # the exporter, or numpy for want of a type: the model is none the worse for it
        path.unlink(missing_ok=True)
        raise NotExportable(last_line(e)) from e


def exported(
    write: Callable[[nn.Module, Network, Path], None], module: nn.Module, network: Network, path: Path
) -> None:
    """Write `path` where nothing but ONNX will do; raises UnsupportedLayer that names what the exporter can't take."""
    try:
        write(module, network, path)
    except NotExportable as e:
        raise UnsupportedLayer(
            f"The model can't be exported as ONNX: {e}. Nearest: format=safetensors, which needs no export."
        ) from e


def _export(pruned: nn.Module, network: Network, path: Path) -> None:
    by_name = names_of(pruned)
    names = [f"input_{number}" for number in range(1, len(network.inputs) - len(by_name) + 1)] + list(by_name)
    names = ["input"] if names == ["input_1"] else names
    with warnings.catch_warnings(), _time_limit(EXPORT_SECONDS), _log_off():
        warnings.simplefilter("ignore")
        # The tracing exporter: ten times faster than the one by torch.export, which is also slow to import.
        torch.onnx.export(
            _InOrder(pruned) if by_name or _has_options(pruned) else pruned,
            network.inputs,
            str(path),
            input_names=names,
            dynamic_axes={name: {0: "batch"} for name, entry in zip(names, network.inputs, strict=True) if entry.dim()},
            dynamo=False,
        )


def _check(pruned: nn.Module, network: Network, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as name:
        folder = Path(name)
        batches = [_saved(pruned, network.inputs, folder / "batch"), _saved(pruned, network.sample, folder / "sample")]
        job = {"model": str(path.absolute()), "batches": batches}
        try:
            failures = run_clean("pytorch/clean_onnx.py", job, folder, seconds=CHECK_SECONDS)
        except CleanProcessFailed as e:
            raise NotExportable(f"the exported file could not be checked: {trimmed(str(e))}") from e
    if failures:
        raise NotExportable(f"the exported file {' '.join(failures)}")


def _saved(pruned: nn.Module, inputs: Sequence[torch.Tensor], prefix: Path) -> dict[str, str]:
    with torch.no_grad():
        outputs = [leaf for leaf in tree_leaves(pruned(*inputs)) if isinstance(leaf, torch.Tensor)]
    files = {"inputs": f"{prefix}_inputs.npz", "outputs": f"{prefix}_outputs.npz"}
    np.savez(files["inputs"], *(entry.numpy() for entry in inputs))
    np.savez(files["outputs"], *(entry.numpy() for entry in outputs))
    return files


@contextmanager
def _log_off() -> Iterator[None]:
    """Keep the exporter from switching its log on, in which it prints the whole graph where it fails, for all time.

    It means to ask whether the log was on and looks at the function instead, which is always true (torch 2.7 to 2.13,
    `setup_onnx_logging`).
    """
    switch = torch._C._jit_set_onnx_log_enabled
    torch._C._jit_set_onnx_log_enabled = lambda enabled: None  # noqa: ARG005
    try:
        yield
    finally:
        torch._C._jit_set_onnx_log_enabled = switch


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """TimeoutError in the main thread after so many seconds; elsewhere signals can't be had, and there is no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
