"""What the page of a report shows of its numbers: rows and columns, ready to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from coppice.records.figures import significant
from coppice.records.report import Check, Cost, Distance, Fidelity, Quality, Report, Verification

#: (what it is called, where it is).
_COSTS: tuple[tuple[str, Callable[[Cost], int | None]], ...] = (
    ("parameters", lambda cost: cost.parameters),
    ("multiply-accumulates of one sample", lambda cost: cost.macs),
    ("parameters and buffers, bytes", lambda cost: cost.bytes),
    ("file, bytes", lambda cost: cost.file_bytes),
    ("peak activation memory, bytes", lambda cost: cost.activation_bytes),
)

DISTANCES: Mapping[Distance, str] = {
    Distance.JS: "the mean Jensen-Shannon divergence from the original's probabilities, in nats (0.693 at most)",
    Distance.MSE: "the mean squared difference of the outputs over the variance of the original's",
}

_CHECKS: Mapping[Check, str] = {
    Check.EXACT: "The cut model gives the outputs of the original with exactly the removed channels zeroed",
    Check.STATISTICS: "The cut model gives the outputs of the original with exactly the removed channels zeroed, once "
    "statistics over channels are held equal in both",
    Check.NONE: "There was nothing to compare",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One cost before and after."""

    label: str
    before: str
    after: str
    left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure of a fidelity."""

    label: str
    value: Callable[[Fidelity], float | None]
    bar: bool  # a share of something

    def of(self, fidelity: Fidelity) -> str:
        """As text."""
        value = self.value(fidelity)
        if value is None:
            return "not numbers"
        return f"{value:.1%}" if self.bar else significant(value)


_COLUMNS = (
    Column(label="accuracy", value=lambda fidelity: fidelity.accuracy, bar=True),
    Column(label="agreement", value=lambda fidelity: fidelity.agreement, bar=True),
    Column(label="error", value=lambda fidelity: fidelity.error, bar=False),
    Column(label="distance", value=lambda fidelity: fidelity.distance, bar=False),
)


def of_report(report: Report) -> dict[str, object]:
    """What the template of a report takes beside the report."""
    return {
        "headline": list(_headline(report)),
        "costs": list(_costs(report.before, report.after)),
        "columns": [] if report.quality is None else _columns(report.quality),
        "stages": [] if report.quality is None else _stages(report.quality),
        "distance": "" if report.quality is None else DISTANCES[report.quality.distance],
        "verdict": verdict(report.verification),
    }


def verdict(found: Verification) -> str:
    """What the check came to, in a sentence."""
    if found.max_relative_difference is None:
        return f"{_CHECKS[found.check]}."
    return (
        f"{_CHECKS[found.check]}: the largest difference is {found.max_relative_difference:.1e} of the largest output "
        f"in {found.dtype}; {found.tolerance:.0e} is allowed."
    )


def _headline(report: Report) -> Iterator[tuple[str, str, str]]:
    channels = sum(group.channels for group in report.groups)
    removed = sum(group.removed for group in report.groups)
    yield "channels removed", f"{removed:,}", f"of {channels:,} that could go"
    for label, (old, new) in {
        "parameters left": (report.before.parameters, report.after.parameters),
        "multiply-accumulates left": (report.before.macs, report.after.macs),
    }.items():
        if old:
            yield label, f"{new / old:.1%}", f"{new:,} of {old:,}"
    if report.quality is not None:
        column = _columns(report.quality)[0]
        yield (
            f"{column.label} now",
            column.of(report.quality.restored),
            f"{column.of(report.quality.before)} before, {column.of(report.quality.cut)} by the cut alone",
        )


def _costs(before: Cost, after: Cost) -> Iterator[CostLine]:
    for label, of in _COSTS:
        old, new = of(before), of(after)
        if old is not None and new is not None:
            yield CostLine(label=label, before=f"{old:,}", after=f"{new:,}", left=new / old if old else None)
    if before.latency_ms and after.latency_ms is not None:
        yield CostLine(
            label="latency of one sample, ms",
            before=_time(before.latency_ms, before.latency_spread_ms),
            after=_time(after.latency_ms, after.latency_spread_ms),
            left=after.latency_ms / before.latency_ms,
        )


def _time(median: float, spread: float | None) -> str:
    return significant(median) + ("" if spread is None else f" (range {significant(spread, 2)})")


def _columns(quality: Quality) -> list[Column]:
    """The figures that the original has; a distance it always has."""
    return [column for column in _COLUMNS if column.value(quality.before) is not None or column is _COLUMNS[-1]]


def _stages(quality: Quality) -> list[tuple[str, Fidelity]]:
    return [("original", quality.before), ("cut", quality.cut), ("given back", quality.restored)]
