"""The table at the end: one model before, after the plain cut, as it is given back, retrained, and in eight bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from coppice.records.report import Cost, Fidelity, Quantized, Report

#: Row -> what it shows of a cost.
ROWS: dict[str, Callable[[Cost], str]] = {
    "parameters": lambda cost: f"{cost.parameters:,}",
    "bytes": lambda cost: f"{cost.bytes:,}",
    "multiply-accumulates": lambda cost: f"{cost.macs:,}",
    "latency of one sample": lambda cost: "" if cost.latency_ms is None else f"{cost.latency_ms:.2f} ms",
}

HELD_OUT, NEW = "accuracy, samples held out", "accuracy, new digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """What was given back, in fewer bits: its report, and what its user measured in its own runtime."""

    report: Report
    accuracy: float


def comparison(
    title: str, report: Report, before: float, given: float, retrained: float, *, small: Small | None
) -> Table:
    """What the cut won and what it cost, and then fewer bits.

    The report's own accuracies are of samples that the repair did not see, but the training did; the others, measured
    by the user, are of digits that nothing saw.
    """
    rows = {name: [shown(report.before), "", shown(report.after), ""] for name, shown in ROWS.items()}
    if (quality := report.quality) is not None:
        shares = [_share(found) for found in (quality.before, quality.cut, quality.restored)]
        rows[HELD_OUT] = [*shares, ""]
    rows[NEW] = [f"{before:.1%}", "", f"{given:.1%}", f"{retrained:.1%}"]
    heads = ["before", "plain cut", "given back", "retrained"]
    if small is not None and (found := small.report.quantized) is not None:
        heads.append(f"in {found.weights}")
        cells = _quantized(small.report, found) | {NEW: f"{small.accuracy:.1%}"}
        for name, row in rows.items():
            row.append(cells[name])
    table = Table("", *heads, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def _quantized(report: Report, found: Quantized) -> dict[str, str]:
    latency = "" if found.latency_ms is None else f"{found.latency_ms:.2f} ms"
    return {
        **{name: shown(report.after) for name, shown in ROWS.items()},
        "bytes": f"{found.file_bytes:,}",
        "latency of one sample": latency,
        HELD_OUT: "" if found.fidelity is None else _share(found.fidelity),
    }


def _share(found: Fidelity) -> str:
    return "" if found.accuracy is None else f"{found.accuracy:.1%}"
