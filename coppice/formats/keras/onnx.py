"""A pruned Keras model as ONNX, for runtimes: exported from the interpreter, channels last as its user has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from coppice.formats.pytorch.onnx import write_onnx
from coppice.tracing.network import Network


class _Exported(nn.Module):
    """The network without the attribute `graph`, which torch's exporter takes for a graph of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        return self.model(*inputs)


def write_keras_onnx(pruned: nn.Module, network: Network, path: Path) -> None:
    """Write `path` and check it in ONNX Runtime; raises NotExportable and leaves nothing behind."""
    write_onnx(_Exported(pruned).eval(), network, path)
