"""What the page of a report shows of its numbers: rows and columns, ready to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from coppice.pages import quantized
from coppice.pages.figures import CostLine, columns_of, time_of
from coppice.records.report import Check, Cost, Distance, Fidelity, Quality, Report, Verification
from coppice.records.request import Task

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


def of_report(report: Report) -> dict[str, object]:
    """What the template of a report takes beside the report."""
    return {
        **quantized.of_quantized(report),
        "cut": report.request.task is not Task.QUANTIZE,
        "done": _done(report),
        "headline": list(_headline(report)),
        "costs": list(_costs(report.before, report.after)),
        "columns": [] if report.quality is None else columns_of(report.quality),
        "stages": [] if report.quality is None else _stages(report.quality),
        "distance": "" if report.quality is None else DISTANCES[report.quality.distance],
        "verdict": verdict(report.verification),
        # Of the layers before the cut; 1 where no layer has any.
        "most_parameters": max((layer.before.parameters for layer in report.layers), default=0) or 1,
        "most_macs": max((layer.before.macs for layer in report.layers), default=0) or 1,
    }


def verdict(found: Verification) -> str:
    """What the check came to, in a sentence."""
    if found.max_relative_difference is None:
        return f"{_CHECKS[found.check]}."
    return (
        f"{_CHECKS[found.check]}: the largest difference is {found.max_relative_difference:.1e} of the largest output "
        f"in {found.dtype}; {found.tolerance:.0e} is allowed."
    )


def _done(report: Report) -> str:
    """What became of the model."""
    done = ["pruned"] if report.request.task is not Task.QUANTIZE else []
    if report.quantized is not None:
        done.append(f"quantized to {report.quantized.weights}")
    return " and ".join(done)


def _headline(report: Report) -> Iterator[tuple[str, str, str]]:
    if report.request.task is not Task.QUANTIZE:
        yield from _cut(report)
    if report.quantized is not None:
        yield from quantized.headline(report, report.quantized)


def _cut(report: Report) -> Iterator[tuple[str, str, str]]:
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
        column = columns_of(report.quality)[0]
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
            before=time_of(before.latency_ms, before.latency_spread_ms),
            after=time_of(after.latency_ms, after.latency_spread_ms),
            left=after.latency_ms / before.latency_ms,
        )


def _stages(quality: Quality) -> list[tuple[str, Fidelity]]:
    return [("original", quality.before), ("cut", quality.cut), ("given back", quality.restored)]
