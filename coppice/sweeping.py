"""A sweep: one model, cut by several ratios and kept in several precisions in one job, and the curve of what each wins.

read -> trace -> score, once; then for each ratio plan -> apply -> verify -> restore -> measure -> write -> reload; then
for each precision quantize -> write -> run

All in one process, because latencies can only be compared where they were measured by turns on one machine, and because
what the points share is most of the work. One that comes to nothing is a point with its reason, not the end.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import TypeAlias

from coppice import pipeline
from coppice.errors import (
    BadUpload,
    CoppiceError,
    NotInstalled,
    PrecisionImpossible,
    Refused,
    SamplesMissing,
    UserCodeError,
)
from coppice.formats import Files, open_upload
from coppice.pages import render
from coppice.pipeline import Pruned
from coppice.quantizing import quantized
from coppice.records.accounts import RESULTS
from coppice.records.report import Artifact, Progress, Report, Tell
from coppice.records.request import Request, Task
from coppice.records.spot import Spot
from coppice.records.sweep import Sweep
from coppice.steps import points
from coppice.steps.curve import table
from coppice.steps.line import Prepared
from coppice.steps.pareto import mark
from coppice.steps.provenance import input_files, versions
from coppice.steps.restore import Basis, usable
from coppice.tracing import Network
from coppice.version import __version__

#: What becomes of one cut: it is measured, and perhaps written.
Finish: TypeAlias = Callable[[Pruned, Spot, Request, Tell], Report]
#: What becomes of it in fewer bits: the report of the cut, of the point's own request, with that of the quantized file.
Quantize: TypeAlias = Callable[[Pruned, Spot, Report, Tell], Report]

_UNJUDGED = (
    "There are no samples to tell how good the models are: the curve has their costs only, and no point is marked. "
    "Send samples of your data as `dataset`."
)

#: What may come of one cut, and of one precision of it, without being the end of all.
_OF_A_CUT = (Refused, UserCodeError)
_OF_A_PRECISION = (*_OF_A_CUT, BadUpload, NotInstalled, PrecisionImpossible, SamplesMissing)

#: The share of a job that its points have in common; after it they share the rest.
_COMMON = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """What becomes of every cut of a sweep, in floats and, where precisions are asked for, in fewer bits."""

    finish: Finish
    quantize: Quantize | None = None


def run(request: Request, files: Files, out: Path, progress: Tell) -> Sweep:
    """Prune the uploaded model by every ratio, quantize it to every precision, and write all that came of it.

    That is the curve, models, reports and a zip of all. Raises a CoppiceError that says what to do, also where no point
    came to anything.
    """
    swept, reports = sweep_files(request, files, out, progress)
    return _published(swept, reports, out)


def sweep_files(request: Request, files: Files, out: Path, progress: Tell) -> tuple[Sweep, Mapping[Spot, Report]]:
    """As `sweep_network`, of an upload: the files of a point lie in a folder of their own, named by its label."""
    progress(Progress(step="read", fraction=0.0))
    source, inputs = open_upload(request, files), input_files(request, files)

    def finish(pruned: Pruned, spot: Spot, asked: Request, tell: Tell) -> Report:
        if not spot.percent:
            return pipeline.report_uncut(source.network, pruned, asked, inputs)
        with point_folder(out, spot) as folder:
            report = pipeline.deliver_floats(source, pruned, asked, inputs, folder, tell)
            return pipeline.with_report(report, folder)

    def fewer(pruned: Pruned, spot: Spot, floats: Report, tell: Tell) -> Report:
        with point_folder(out, spot) as folder:
            return pipeline.with_report(quantized(source, pruned.dense, floats, folder, tell), folder)

    swept, reports = sweep_network(source.network, request, Makers(finish=finish, quantize=fewer), progress)
    for spot in {spot.in_floats for spot in request.spots} - reports.keys():
        shutil.rmtree(out / spot.label, ignore_errors=True)  # was needed, and not asked for
    return swept.model_copy(update={"inputs": inputs}), reports


@contextmanager
def point_folder(out: Path, spot: Spot) -> Iterator[Path]:
    """A new folder for the files of a point, which does not stay where they are not all made."""
    folder = out / spot.label
    folder.mkdir()
    try:
        yield folder
    except CoppiceError:
        shutil.rmtree(folder)
        raise


def sweep_network(
    network: Network, request: Request, makers: Makers, progress: Tell
) -> tuple[Sweep, Mapping[Spot, Report]]:
    """The curve of an open model, without artifacts, and the report of every point that came to a model."""
    stem = _stem(network, request, progress)
    reports: dict[Spot, Report] = {}
    failures: dict[Spot, CoppiceError] = {}
    for floats, grown in groupby(request.spots, key=lambda spot: spot.in_floats):
        spots, asked, tell = tuple(grown), request.at(floats), _of_spot(progress, floats, request)
        try:
            pruned = stem.cut(asked, tell)
            report = makers.finish(pruned, floats, asked, tell)
        except _OF_A_CUT as e:
            failures |= dict.fromkeys(spots, e)
            continue
        for spot in spots:
            if not spot.quantized or makers.quantize is None:
                reports[spot] = report
                continue
            bare = report.model_copy(update={"request": request.at(spot), "artifacts": ()})
            try:
                reports[spot] = makers.quantize(pruned, spot, bare, _of_spot(progress, spot, request))
            except _OF_A_PRECISION as e:
                failures[spot] = e
    if not reports:
        raise _nothing(failures)
    return _curve(stem, request, reports, failures), reports


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stem:
    """What all points of a sweep share; a model of which nothing goes was not traced."""

    network: Network
    basis: Basis | None
    prepared: Prepared | None

    def cut(self, asked: Request, tell: Tell) -> Pruned:
        """The model by one ratio, which may be none."""
        if asked.percent and self.prepared is not None:
            return pipeline.cut(self.prepared, asked, tell)
        return pipeline.uncut(self.network, self.basis)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.network.notes, *(self.prepared.scored.notes if self.prepared else ()))


def _stem(network: Network, request: Request, progress: Tell) -> _Stem:
    if any(request.percents):
        prepared = pipeline.prepare(network, request, progress)
        return _Stem(network=prepared.network, basis=prepared.basis, prepared=prepared)
    network, basis = usable(network)
    return _Stem(network=network, basis=basis, prepared=None)


def _of_spot(progress: Tell, spot: Spot, request: Request) -> Tell:
    steps = list(dict.fromkeys(step for one in request.spots for step in (one.in_floats, one)))
    number = steps.index(spot)

    def tell(told: Progress) -> None:
        fraction = _COMMON + (1 - _COMMON) * (number + told.fraction) / len(steps)
        detail = f"{number + 1} of {len(steps)}: {spot.name}" + (f", {told.detail}" if told.detail else "")
        progress(Progress(step=told.step, fraction=fraction, detail=detail[:500]))

    return tell


def _nothing(failures: Mapping[Spot, CoppiceError]) -> CoppiceError:
    """Why no point came to a model; of the one kind that all failures are, or simply refused."""
    kinds = {type(error) for error in failures.values()}
    kind = kinds.pop() if len(kinds) == 1 else Refused
    fields = {error.field for error in failures.values()}
    told: dict[str, list[str]] = {}
    for spot, error in failures.items():
        told.setdefault(error.message, []).append(spot.name)
    message = "No point came to a model. " + " ".join(f"{', '.join(at)}: {why}" for why, at in told.items())
    return kind(message, field=fields.pop() if len(fields) == 1 else None)


def _curve(
    stem: _Stem, request: Request, reports: Mapping[Spot, Report], failures: Mapping[Spot, CoppiceError]
) -> Sweep:
    # The uncut say nothing of channels, and come first where there are any.
    last, files = list(reports.values())[-1], bool(request.precisions)
    made = (
        points.point(spot, reports[spot], files=files) if spot in reports else points.missing(spot, failures[spot])
        for spot in request.spots
    )
    marked = mark((points.dense(last, files=files), *made))
    return Sweep(
        coppice=__version__,
        request=request,
        versions=versions(request.framework),
        frozen=last.frozen,
        summary=table(marked),
        notes=(*stem.notes, *(() if marked.merit else (_UNJUDGED,))),
        points=marked.points,
        merit=marked.merit,
        held_out=last.quality.held_out if last.quality else None,
        distance=last.quality.distance if last.quality else None,
        criterion=last.criterion if last.request.percent else None,
        machine=last.machine,
    )


def _published(swept: Sweep, reports: Mapping[Spot, Report], out: Path) -> Sweep:
    """The curve as a file and as a page, each point's model and report, and every file of every point in one zip."""
    curve = Artifact(name=RESULTS[Task.SWEEP], file="curve.json", media_type="application/json")
    page = Artifact(name="curve_html", file="curve.html", media_type="text/html")
    bundle = Artifact(name="bundle", file="bundle.zip", media_type="application/zip")
    own = {spot: _own(spot, report) for spot, report in reports.items()}
    points = tuple(
        point.model_copy(update={"artifacts": tuple(artifact.name for artifact in own.get(point.spot, {}))})
        for point in swept.points
    )
    artifacts = (curve, page, *(artifact for named in own.values() for artifact in named), bundle)
    complete = swept.model_copy(update={"points": points, "artifacts": artifacts})
    (out / curve.file).write_text(complete.model_dump_json(indent=2))
    (out / page.file).write_text(render(complete), encoding="utf-8")
    with zipfile.ZipFile(out / bundle.file, "w") as archive:  # stored: weights do not compress
        for told in (curve, page):
            archive.write(out / told.file, told.file)
        for spot, report in reports.items():
            for artifact in report.artifacts:
                archive.write(out / spot.label / artifact.file, f"{spot.label}/{artifact.file}")
    for spot, named in own.items():
        for artifact, file in named.items():
            (out / spot.label / file).rename(out / artifact.file)
        shutil.rmtree(out / spot.label)
    return complete


def _own(spot: Spot, report: Report) -> dict[Artifact, str]:
    """The artifacts of a point that are the sweep's, too, by new names, and the files that they have in its folder."""
    suffix = spot.label
    return {
        artifact.model_copy(
            update={"name": f"{artifact.name}_{suffix}", "file": _renamed(artifact.file, suffix)}
        ): artifact.file
        for artifact in report.artifacts
        if artifact.name in ("model", "quantized", "report")
    }


def _renamed(file: str, suffix: str) -> str:
    path = PurePath(file)
    return f"{path.stem}_{suffix}{path.suffix}"
