"""points: what a report of one ratio in one precision says on the curve of a sweep."""

from __future__ import annotations

from coppice.errors import CoppiceError
from coppice.records.report import Cost, Failure, Quantized, Report
from coppice.records.spot import Spot
from coppice.records.sweep import Axis, Point, SmallFile


def dense(report: Report, *, files: bool) -> Point:
    """The model as it was sent, by the report of any point; `files` where the sizes of files are compared."""
    return Point(
        percent=0.0,
        cost=report.before,
        shares=_shares(report.before, report.before, files=files),
        fidelity=report.quality.before if report.quality else None,
    )


def point(spot: Spot, report: Report, *, files: bool) -> Point:
    """One that came to a model."""
    shares, quality, small = _shares(report.before, report.after, files=files), report.quality, report.quantized
    if not spot.quantized or small is None:
        return Point(
            percent=spot.percent,
            cost=report.after,
            shares=shares,
            fidelity=quality.restored if quality else None,
            cut=quality.cut if quality else None,
            verification=report.verification,
        )
    return Point(
        percent=spot.percent,
        precision=spot.precision,
        cost=report.after,
        quantized=_small(small),
        shares=_fewer(shares, report.before, small),
        fidelity=small.fidelity,
        verification=report.verification,
    )


def missing(spot: Spot, error: CoppiceError) -> Point:
    """One that came to nothing, with the reason."""
    told = Failure(code=error.code, message=error.message[:8000], field=error.field and error.field[:200])
    return Point(percent=spot.percent, precision=spot.precision, error=told)


def _small(found: Quantized) -> SmallFile:
    return SmallFile(
        output_format=found.output_format,
        runtime=found.runtime,
        arithmetic=found.arithmetic,
        file_bytes=found.file_bytes,
        float_file_bytes=found.float_file_bytes,
        snr_db=found.snr_db,
        latency=_latency(found),
    )


def _latency(found: Quantized) -> float | None:
    return (
        found.latency_ms / found.float_latency_ms if found.latency_ms is not None and found.float_latency_ms else None
    )


def _shares(before: Cost, after: Cost, *, files: bool) -> dict[Axis, float]:
    costs = {
        Axis.PARAMETERS: (before.parameters, after.parameters),
        Axis.MACS: (before.macs, after.macs),
        Axis.BYTES: (before.bytes, after.bytes),
        Axis.LATENCY: (before.latency_ms, after.latency_ms),
    }
    if files:
        costs[Axis.FILE] = (before.file_bytes, after.file_bytes)
    return {axis: new / old for axis, (old, new) in costs.items() if old and new is not None}


def _fewer(cut: dict[Axis, float], before: Cost, small: Quantized) -> dict[Axis, float]:
    """The shares of a cut, with those that change as it is quantized; none that was not measured."""
    latency = _latency(small)
    changed: dict[Axis, float | None] = {
        Axis.BYTES: sum(small.bytes_by_type.values()) / before.bytes if before.bytes else None,
        Axis.FILE: small.file_bytes / before.file_bytes if before.file_bytes else None,
        # Both by turns: the cut against the original, and the file against the cut, which no runtime has both of.
        Axis.LATENCY: cut[Axis.LATENCY] * latency if latency is not None and Axis.LATENCY in cut else None,
    }
    return {axis: share for axis, share in {**cut, **changed}.items() if share is not None}
