"""A sweep: one model, cut by several ratios in one job, and the curve that tells what each of them costs and wins.

read -> trace -> score, once; then for each ratio plan -> apply -> verify -> restore -> measure -> write -> reload

All in one process, because latencies can only be compared where they were measured by turns on one machine, and because
what the ratios share is most of the work. A ratio that comes to nothing is a point with its reason, not the end.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TypeAlias

from coppice import pipeline
from coppice.errors import CoppiceError, Refused, UserCodeError
from coppice.formats import Files, open_upload
from coppice.pages import render
from coppice.pipeline import Pruned
from coppice.records.accounts import RESULTS
from coppice.records.report import Artifact, Cost, Failure, Progress, Report, Tell
from coppice.records.request import Request, Task
from coppice.records.sweep import Axis, Point, Sweep
from coppice.steps.curve import table
from coppice.steps.line import Prepared
from coppice.steps.pareto import mark
from coppice.steps.provenance import input_files, versions
from coppice.tracing import Network
from coppice.version import __version__

#: What becomes of one cut: it is measured, and perhaps written.
Finish: TypeAlias = Callable[[Pruned, Request, Tell], Report]

_UNJUDGED = (
    "There are no samples to tell how good the models are: the curve has their costs only, and no point is marked. "
    "Send samples of your data as `dataset`."
)

#: The share of a job that its ratios have in common; after it they share the rest.
_COMMON = 0.3


def run(request: Request, files: Files, out: Path, progress: Tell) -> Sweep:
    """Prune the uploaded model by every ratio and write curve, models, reports and a zip of all into `out`.

    Raises a CoppiceError that says what to do, also where no ratio came to anything.
    """
    swept, reports = sweep_files(request, files, out, progress)
    return _published(swept, reports, out)


def sweep_files(request: Request, files: Files, out: Path, progress: Tell) -> tuple[Sweep, Mapping[float, Report]]:
    """As `sweep_network`, of an upload: the files of a ratio lie in a folder of their own, named by `label`."""
    progress(Progress(step="read", fraction=0.0))
    source, inputs = open_upload(request, files), input_files(request, files)

    def finish(pruned: Pruned, asked: Request, tell: Tell) -> Report:
        folder = out / label(asked.percent)
        folder.mkdir()
        try:
            return pipeline.with_report(pipeline.deliver(source, pruned, asked, inputs, folder, tell), folder)
        except CoppiceError:
            shutil.rmtree(folder)  # nothing of a model that is not given back stays
            raise

    swept, reports = sweep_network(source.network, request, finish, progress)
    return swept.model_copy(update={"inputs": inputs}), reports


def sweep_network(
    network: Network, request: Request, finish: Finish, progress: Tell
) -> tuple[Sweep, Mapping[float, Report]]:
    """The curve of an open model, without artifacts, and the report of every ratio that came to a model."""
    prepared = pipeline.prepare(network, request, progress)
    reports: dict[float, Report] = {}
    failures: dict[float, CoppiceError] = {}
    for percent in request.percents:
        asked = request.model_copy(update={"task": Task.PRUNE, "percent": percent, "percents": ()})
        tell = _of_ratio(progress, percent, request.percents)
        try:
            reports[percent] = finish(pipeline.cut(prepared, asked, tell), asked, tell)
        except (Refused, UserCodeError) as e:
            failures[percent] = e
    if not reports:
        raise _nothing(failures)
    return _curve(prepared, request, reports, failures), reports


def label(percent: float) -> str:
    """What the artifacts of a ratio are called by: `40` of 0.4, `12_5` of 0.125."""
    return f"{round(percent * 100, 2):g}".replace(".", "_")


def _of_ratio(progress: Tell, percent: float, percents: Sequence[float]) -> Tell:
    number = percents.index(percent)

    def tell(told: Progress) -> None:
        fraction = _COMMON + (1 - _COMMON) * (number + told.fraction) / len(percents)
        detail = f"{number + 1} of {len(percents)}: {percent:g}" + (f", {told.detail}" if told.detail else "")
        progress(Progress(step=told.step, fraction=fraction, detail=detail[:500]))

    return tell


def _nothing(failures: Mapping[float, CoppiceError]) -> CoppiceError:
    """Why no ratio came to a model; of the one kind that all failures are, or simply refused."""
    kinds = {type(error) for error in failures.values()}
    kind = kinds.pop() if len(kinds) == 1 else Refused
    told: dict[str, list[str]] = {}
    for percent, error in failures.items():
        told.setdefault(error.message, []).append(f"{percent:g}")
    return kind("No ratio came to a model. " + " ".join(f"{', '.join(at)}: {why}" for why, at in told.items()))


def _curve(
    prepared: Prepared, request: Request, reports: Mapping[float, Report], failures: Mapping[float, CoppiceError]
) -> Sweep:
    first = next(iter(reports.values()))
    dense = Point(
        percent=0.0,
        cost=first.before,
        shares=_shares(first.before, first.before),
        fidelity=first.quality.before if first.quality else None,
    )
    cut = (
        _point(reports[percent]) if percent in reports else _missing(percent, failures[percent])
        for percent in request.percents
    )
    marked = mark((dense, *cut))
    notes = (*prepared.network.notes, *prepared.scored.notes, *(() if marked.merit else (_UNJUDGED,)))
    return Sweep(
        coppice=__version__,
        request=request,
        versions=versions(request.framework),
        frozen=first.frozen,
        summary=table(marked),
        notes=notes,
        points=marked.points,
        merit=marked.merit,
        held_out=first.quality.held_out if first.quality else None,
        distance=first.quality.distance if first.quality else None,
        criterion=first.criterion,
        machine=first.machine,
    )


def _point(report: Report) -> Point:
    return Point(
        percent=report.request.percent,
        cost=report.after,
        shares=_shares(report.before, report.after),
        fidelity=report.quality.restored if report.quality else None,
        cut=report.quality.cut if report.quality else None,
        verification=report.verification,
    )


def _missing(percent: float, error: CoppiceError) -> Point:
    told = Failure(code=error.code, message=error.message[:8000], field=error.field and error.field[:200])
    return Point(percent=percent, error=told)


def _shares(before: Cost, after: Cost) -> dict[Axis, float]:
    costs = {
        Axis.PARAMETERS: (before.parameters, after.parameters),
        Axis.MACS: (before.macs, after.macs),
        Axis.BYTES: (before.bytes, after.bytes),
        Axis.LATENCY: (before.latency_ms, after.latency_ms),
    }
    return {axis: new / old for axis, (old, new) in costs.items() if old and new is not None}


def _published(swept: Sweep, reports: Mapping[float, Report], out: Path) -> Sweep:
    """The curve as a file and as a page, each ratio's model and report, and every file of every ratio in one zip."""
    curve = Artifact(name=RESULTS[Task.SWEEP], file="curve.json", media_type="application/json")
    page = Artifact(name="curve_html", file="curve.html", media_type="text/html")
    bundle = Artifact(name="bundle", file="bundle.zip", media_type="application/zip")
    own = {percent: _own(report) for percent, report in reports.items()}
    points = tuple(
        point.model_copy(update={"artifacts": tuple(artifact.name for artifact in own.get(point.percent, {}))})
        for point in swept.points
    )
    artifacts = (curve, page, *(artifact for named in own.values() for artifact in named), bundle)
    complete = swept.model_copy(update={"points": points, "artifacts": artifacts})
    (out / curve.file).write_text(complete.model_dump_json(indent=2))
    (out / page.file).write_text(render(complete), encoding="utf-8")
    with zipfile.ZipFile(out / bundle.file, "w") as archive:  # stored: weights do not compress
        for told in (curve, page):
            archive.write(out / told.file, told.file)
        for percent, report in reports.items():
            for artifact in report.artifacts:
                archive.write(out / label(percent) / artifact.file, f"{label(percent)}/{artifact.file}")
    for percent, named in own.items():
        for artifact, file in named.items():
            (out / label(percent) / file).rename(out / artifact.file)
        shutil.rmtree(out / label(percent))
    return complete


def _own(report: Report) -> dict[Artifact, str]:
    """The artifacts of a ratio that are the sweep's, too, by new names, and the files that they have in its folder."""
    suffix = label(report.request.percent)
    return {
        artifact.model_copy(
            update={"name": f"{artifact.name}_{suffix}", "file": _renamed(artifact.file, suffix)}
        ): artifact.file
        for artifact in report.artifacts
        if artifact.name in ("model", "report")
    }


def _renamed(file: str, suffix: str) -> str:
    path = PurePath(file)
    return f"{path.stem}_{suffix}{path.suffix}"
