"""What the library gives back: models of the user's own class, files, and the account of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from coppice.records.plan import Plan
from coppice.records.quantization import Precision
from coppice.records.report import Report
from coppice.records.sweep import Sweep

#: The class of the user's model.
M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[M]):
    """A pruned model of the user's own class, what was kept of every tensor, and the account."""

    model: M
    plan: Plan
    report: Report

    def _repr_html_(self) -> str:
        """What a notebook shows: the report."""
        return self.report._repr_html_()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a quantized model, by the names of artifacts, and the account; `quantized` is the model."""

    files: Mapping[str, Path]
    report: Report

    def _repr_html_(self) -> str:
        """What a notebook shows: the report."""
        return self.report._repr_html_()


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The curve of a sweep, the models of its ratios in floats, and its quantized files by ratio and precision."""

    report: Sweep
    results: Mapping[float, Result[Any]]
    written: Mapping[tuple[float, Precision], Written]

    def _repr_html_(self) -> str:
        """What a notebook shows: the report."""
        return self.report._repr_html_()
