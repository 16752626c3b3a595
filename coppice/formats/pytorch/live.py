"""A live PyTorch model of a user's own process: it has no files to go back to, and can be exported all the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from coppice.formats.pytorch.onnx import exported, write_onnx
from coppice.records.report import Artifact
from coppice.tracing.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTorch:
    """The model as the engine sees it."""

    network: Network
    stem: str = "model"
    notes: tuple[str, ...] = ()
    latencies: None = None

    def write(self, *_: object) -> tuple[Artifact, ...]:
        """Nothing: what came as an object goes back as one."""
        return ()

    def reload(self, *_: object) -> None:
        """Nothing was written."""

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        """Through torch's exporter."""
        exported(write_onnx, module, self.network, path)
