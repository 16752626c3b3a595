"""The seam between the pipeline and a file format: what every format gives and takes.

Here is the Protocol only. Which format answers for which upload is the table in `coppice.formats`; each format's own
module reads, writes and reloads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from torch import nn

from coppice.records.plan import Plan
from coppice.records.report import Artifact, Report
from coppice.tracing.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of one run on one thread: the median, and the spread of the middle half of the runs."""

    milliseconds: float
    spread: float


def stem_of(name: str) -> str:
    """A file's name without its suffix, such that nothing in it needs to be quoted anywhere."""
    return safe(PurePath(name).stem)[:80] or "model"


def safe(text: str) -> str:
    """With an underscore for every character that would have to be quoted somewhere."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


class Source(Protocol):
    """An upload that was read: a network for the engine, and the way back to the user's own kind of file."""

    @property
    def network(self) -> Network:
        """The model as the engine sees it, in evaluation mode."""

    @property
    def stem(self) -> str:
        """What the names of its files begin with: the user's own name for the model, made safe (`stem_of`)."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What `write` left out and why, a sentence each, for the report; empty until `write` has run."""

    @property
    def latencies(self) -> tuple[Latency, Latency] | None:
        """What the format's own runtime took before and after, once `reload` has run; None where that is torch."""

    def write(self, pruned: nn.Module, plan: Plan, report: Report, out: Path) -> tuple[Artifact, ...]:
        """Write the result into the folder `out`; the first artifact is named "model"."""

    def reload(self, pruned: nn.Module, artifacts: tuple[Artifact, ...], out: Path) -> None:
        """Load every loadable artifact in a clean process and compare its outputs; raises ReloadFailed."""

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        """Write a copy of the network's module, cut or rounded, as an ONNX file; raises UnsupportedLayer."""
