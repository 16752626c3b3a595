"""The table at the end of the demo: one model before, right after the cut, and after retraining."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from coppice.records.report import Cost, Report

#: Row -> what it shows of a cost.
ROWS: dict[str, Callable[[Cost], str]] = {
    "parameters": lambda cost: f"{cost.parameters:,}",
    "bytes": lambda cost: f"{cost.bytes:,}",
    "multiply-accumulates": lambda cost: f"{cost.macs:,}",
    "latency of one sample": lambda cost: "" if cost.latency_ms is None else f"{cost.latency_ms:.2f} ms",
}


def comparison(title: str, report: Report, before: float, cut: float, retrained: float) -> Table:
    """What the cut won and what it cost; the accuracies are of digits that no training saw."""
    table = Table("", "before", "right after the cut", "after retraining", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, shown in ROWS.items():
        table.add_row(name, shown(report.before), shown(report.after), "")
    table.add_row("accuracy", f"{before:.1%}", f"{cut:.1%}", f"{retrained:.1%}")
    return table
