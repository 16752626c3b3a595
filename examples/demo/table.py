"""The table at the end of the demo: one model before, after the plain cut, as it is given back, and retrained."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from coppice.records.report import Cost, Fidelity, Report

#: Row -> what it shows of a cost.
ROWS: dict[str, Callable[[Cost], str]] = {
    "parameters": lambda cost: f"{cost.parameters:,}",
    "bytes": lambda cost: f"{cost.bytes:,}",
    "multiply-accumulates": lambda cost: f"{cost.macs:,}",
    "latency of one sample": lambda cost: "" if cost.latency_ms is None else f"{cost.latency_ms:.2f} ms",
}


def comparison(title: str, report: Report, before: float, given: float, retrained: float) -> Table:
    """What the cut won and what it cost.

    The report's own accuracies are of samples that the repair did not see, but the training did; the others, measured
    by the user, are of digits that nothing saw.
    """
    table = Table("", "before", "plain cut", "given back", "retrained", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, shown in ROWS.items():
        table.add_row(name, shown(report.before), "", shown(report.after), "")
    if (quality := report.quality) is not None:
        shares = [_share(found) for found in (quality.before, quality.cut, quality.restored)]
        table.add_row("accuracy, samples held out", *shares, "")
    table.add_row("accuracy, new digits", f"{before:.1%}", "", f"{given:.1%}", f"{retrained:.1%}")
    return table


def _share(found: Fidelity) -> str:
    return "" if found.accuracy is None else f"{found.accuracy:.1%}"
