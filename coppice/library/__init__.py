"""The library: prune a live model in this process, once or by several ratios, or keep its numbers in fewer bits.

result = coppice.prune(model, percent=0.4, omit=["fc"], example_inputs=(x,))
result.model, result.plan.kept["conv1.weight"][0], result.report.after.parameters
coppice.apply(other, result.plan.without("conv1"), example_inputs=(x,)).model
coppice.quantize(result.model, precision="int8", samples=(x, y), out="small").files["quantized"]
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack, overload

from coppice import pipeline, sweeping
from coppice.errors import ParameterInvalid, ParameterMissing, PrecisionImpossible
from coppice.formats import open_upload
from coppice.formats.pytorch.live import LiveTorch
from coppice.library.live import Inputs, live_of, loaded, network_of, result_of, saved
from coppice.library.results import M, Result, Swept, Written
from coppice.library.unmoved import unmoved
from coppice.quantizing import quantized
from coppice.records.frameworks import Framework
from coppice.records.keywords import ATTRIBUTES, Numbers, Options, Shape, Sweeping
from coppice.records.plan import Plan
from coppice.records.quantization import Format, Precision
from coppice.records.report import Inspection, Progress, Report, Tell
from coppice.records.request import SHOWN, Request, Task
from coppice.records.samples_needed import check_samples
from coppice.records.spot import Spot
from coppice.records.sweep import Sweep
from coppice.records.texts import READERS
from coppice.steps.provenance import input_files
from coppice.tracing import Network

#: What a function may be told beside what it names itself.
_KEYWORDS: Mapping[Task, type] = {
    Task.PRUNE: Options,
    Task.SWEEP: Sweeping,
    Task.INSPECT: Shape,
    Task.QUANTIZE: Numbers,
}


@overload
def prune(
    model: str | PathLike[str],
    *,
    percent: float | None = None,
    max_drop: float | None = None,
    samples: Any = None,
    progress: Tell | None = None,
    **options: Unpack[Options],
) -> Result[Any]: ...


@overload
def prune(
    model: M,
    *,
    percent: float | None = None,
    max_drop: float | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    progress: Tell | None = None,
    **options: Unpack[Options],
) -> Result[M]: ...


@unmoved()
def prune(
    model: Any,
    *,
    percent: float | None = None,
    max_drop: float | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    progress: Tell | None = None,
    **options: Unpack[Options],
) -> Result[Any]:
    """Remove `percent` of the channels of every prunable group of a torch, Keras or ONNX model; it stays untouched.

    `example_inputs` are what `model(*example_inputs)` takes, batch dimension included, or a mapping of what it takes
    by keyword; Keras and ONNX models state their own. An ONNX model is a `ModelProto`, or the path of a file; the
    result is a `ModelProto`.
    `samples` of the user's data repair what the cut leaves and judge it: an array, `(x, y)`, a mapping, a loader, or
    batches of these. `max_drop` then looks for the smallest model that loses no more than that of its accuracy.
    `progress` is called with a `Progress` (step, fraction of the whole, detail) as each step begins; what it raises
    ends the call and goes through to the caller.
    The other keywords are those of `Options`. The same model, inputs and `seed` give the same result in every process
    on one machine; random states and settings of torch, numpy and `random` stay as they were. Raises a `CoppiceError`.
    """
    _check_keywords(options, Task.PRUNE)
    told = {**options, "percent": percent, "max_drop": max_drop}
    if (live := live_of(model)) is not None:
        request = _request(live.framework, Task.PRUNE, told)
        with saved(model, live, request, samples) as (asked, files, out):
            pipeline.run(asked, files, out, progress or _silent)
            return loaded(model, live, out)
    request = _request(Framework.PYTORCH, Task.PRUNE, told)
    network = network_of(model, example_inputs, samples, request.seed)
    pruned = pipeline.prune(network, request, progress or _silent)
    return result_of(model, pruned, pipeline.report_on(network, pruned, request))


@overload
def apply(
    model: str | PathLike[str], plan: Plan, *, samples: Any = None, restore: bool = True, progress: Tell | None = None
) -> Result[Any]: ...


@overload
def apply(
    model: M,
    plan: Plan,
    *,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    restore: bool = True,
    progress: Tell | None = None,
) -> Result[M]: ...


@unmoved()
def apply(
    model: Any,
    plan: Plan,
    *,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    restore: bool = True,
    progress: Tell | None = None,
) -> Result[Any]:
    """Cut a model by a plan that was made before: for other weights of the same architecture, or by an edited plan.

    The model is traced anew, so that what depends on an edited layer follows, and the cut passes the same check as that
    of `prune`. `samples` repair the weights that are kept, unless `restore` is false. The rest is as in `prune`; the
    report's `request` says nothing of the ratio, which is the plan's. Raises ParameterInvalid, which names the layer or
    tensor, where the architecture is another or the plan would cut half of what belongs together.
    """
    told = {"percent": 0.0, "restore": restore}
    live, tell = live_of(model), progress or _silent
    request = _request(Framework.PYTORCH if live is None else live.framework, Task.PRUNE, told)
    if live is not None:
        with saved(model, live, request, samples) as (asked, files, out):
            source, inputs = open_upload(asked, files), input_files(asked, files)
            pruned = pipeline.replay(source.network, plan, asked, tell)
            pipeline.with_report(pipeline.deliver_floats(source, pruned, asked, inputs, out, tell), out)
            return loaded(model, live, out)
    network = network_of(model, example_inputs, samples, request.seed)
    pruned = pipeline.replay(network, plan, request, tell)
    return result_of(model, pruned, pipeline.report_on(network, pruned, request))


@unmoved()
def quantize(
    model: Any,
    *,
    out: Path | str,
    precision: str | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    progress: Tell | None = None,
    **numbers: Unpack[Numbers],
) -> Written:
    """Keep the numbers of a torch, Keras or ONNX model in fewer bits, in files in the folder `out`; it stays untouched.

    `precision` is that of the weights, and of biases and activations what goes with it: "int8" finds the scales of
    activations on `samples`. A live torch model becomes ONNX; it has no class file, which packed safetensors need.
    `progress` and the rest are as in `prune`, the other keywords those of `Numbers`. Raises a `CoppiceError`.
    """
    _check_keywords(numbers, Task.QUANTIZE)
    told = {"precision": precision, **{ATTRIBUTES.get(name, name): value for name, value in numbers.items()}}
    live, folder = live_of(model), Path(out)
    request = _request(Framework.PYTORCH if live is None else live.framework, Task.QUANTIZE, told)
    check_samples(request, samples is not None)
    if live is None:
        _check_classless(request)
    folder.mkdir(parents=True, exist_ok=True)
    if live is not None:
        with saved(model, live, request, samples) as (asked, files, _):
            report = pipeline.quantize(asked, files, folder, progress or _silent)
    else:
        source = LiveTorch(network=network_of(model, example_inputs, samples, request.seed))
        report = pipeline.quantize_source(source, request, {}, folder, progress or _silent)
    return Written(files={one.name: folder / one.file for one in report.artifacts}, report=report)


@unmoved()
def sweep(
    model: Any,
    *,
    percents: Sequence[float] = (),
    precisions: Sequence[str] = (),
    out: Path | str | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    progress: Tell | None = None,
    **options: Unpack[Sweeping],
) -> Swept:
    """Cut a model by several ratios, keep it in several precisions, and compare quality against size, work and time.

    The model is traced and scored once, cut once for each ratio, and each cut quantized to each of the precisions, of
    which "float32" is the cut as it is; 0 is the whole model. Quantized models are files in folders in `out`. A point
    that comes to nothing tells its reason; a `CoppiceError` is raised where all do. Else as `prune` and `quantize`.
    """
    _check_keywords(options, Task.SWEEP)
    told = {ATTRIBUTES.get(name, name): value for name, value in options.items()}
    told |= {"percents": percents or None, "precisions": precisions or None}
    live = live_of(model)
    request = _request(Framework.PYTORCH if live is None else live.framework, Task.SWEEP, told)
    if out is None and any(spot.quantized for spot in request.spots):
        raise ParameterMissing(
            "out is missing: quantized models are files. Name a folder for them, e.g. out='swept'.", field="out"
        )
    if live is not None:
        with saved(model, live, request, samples) as (asked, files, scratch):
            curve, reports = sweeping.sweep_files(asked, files, scratch, progress or _silent)
            results = {
                spot.percent: loaded(model, live, scratch / spot.label) for spot in reports if not spot.quantized
            }
            return Swept(report=curve, results=results, written=_written(reports, scratch, out))
    with TemporaryDirectory() as name:
        network = network_of(model, example_inputs, samples, request.seed)
        curve, reports, cuts = _swept(network, request, Path(name), progress or _silent)
        written = _written(reports, Path(name), out)
    wanted = {spot.percent for spot in reports if not spot.quantized}
    results = {percent: result_of(model, *cut) for percent, cut in cuts.items() if percent in wanted}
    return Swept(report=curve, results=results, written=written)


_Cuts = dict[float, tuple[pipeline.Pruned, Report]]


def _swept(
    network: Network, request: Request, folder: Path, progress: Tell
) -> tuple[Sweep, Mapping[Spot, Report], _Cuts]:
    """The sweep of a live torch model, whose files lie in folders in `folder`, and what was cut of it."""
    source, cuts = LiveTorch(network=network), _Cuts()

    def finish(pruned: pipeline.Pruned, spot: Spot, asked: Request, _: Tell) -> Report:
        report = pipeline.report_on(network, pruned, asked)
        cuts[spot.percent] = (pruned, report)
        return report

    def fewer(pruned: pipeline.Pruned, spot: Spot, floats: Report, tell: Tell) -> Report:
        _check_classless(floats.request)
        with sweeping.point_folder(folder, spot) as own:
            return pipeline.with_report(quantized(source, pruned.dense, floats, own, tell), own)

    curve, reports = sweeping.sweep_network(network, request, sweeping.Makers(finish=finish, quantize=fewer), progress)
    return curve, reports, cuts


def _written(
    reports: Mapping[Spot, Report], scratch: Path, out: Path | str | None
) -> dict[tuple[float, Precision], Written]:
    """The quantized points of a sweep, whose folders are brought to where their user wants them."""
    found = {}
    for spot, report in reports.items():
        if spot.quantized and out is not None:
            folder = Path(shutil.copytree(scratch / spot.label, Path(out) / spot.label, dirs_exist_ok=True))
            files = {artifact.name: folder / artifact.file for artifact in report.artifacts}
            found[spot.percent, spot.precision] = Written(files=files, report=report)
    return found


@unmoved()
def inspect(
    model: Any,
    *,
    percent: float = SHOWN,
    example_inputs: Inputs | None = None,
    progress: Tell | None = None,
    **shape: Unpack[Shape],
) -> Inspection:
    """The groups of a live model that could be pruned and the channels that can't, with reasons; nothing is cut.

    `example_inputs` and `progress` are as in `prune`; the other keywords are those of `Shape`. Raises a `CoppiceError`.
    """
    _check_keywords(shape, Task.INSPECT)
    told = {**shape, "percent": percent}
    if (live := live_of(model)) is not None:
        request = _request(live.framework, Task.INSPECT, told)
        with saved(model, live, request) as (asked, files, out):
            return pipeline.inspect(asked, files, out, progress or _silent)
    request = _request(Framework.PYTORCH, Task.INSPECT, told)
    (progress or _silent)(Progress(step="trace", fraction=0.5))
    return pipeline.inspect_network(network_of(model, example_inputs), request)


def _check_keywords(given: Mapping[str, object], task: Task) -> None:
    kind = _KEYWORDS[task]
    for name in given:
        if name not in kind.__annotations__:
            raise TypeError(f"no keyword is called {name!r}; see coppice.library.{kind.__name__}")


def _check_classless(request: Request) -> None:
    wanted = request.quantization
    if wanted is not None and wanted.output_format is Format.SAFETENSORS:
        raise PrecisionImpossible(
            f"format=safetensors, as which weights={wanted.numbers.weights} is kept, is loaded by the model's class "
            "file, and a live model has none. Nearest: format=onnx; or save its state dict, and quantize that with the "
            "class file (coppice quantize).",
            field="format",
        )


def _request(framework: Framework, task: Task, told: Mapping[str, object]) -> Request:
    if isinstance(omit := told.get("omit"), str):
        raise ParameterInvalid(f"omit={omit!r} is one text. Give a list of layer names: omit=[{omit!r}].", field="omit")
    values = {name: READERS[name](value) for name, value in told.items() if value is not None}
    return Request.model_validate({**values, "framework": framework, "task": task})


def _silent(_: Progress) -> None:
    """Nobody listens, unless someone asked to be told."""


__all__ = [
    "Inputs",
    "Inspection",
    "Numbers",
    "Options",
    "Plan",
    "Progress",
    "Result",
    "Shape",
    "Sweeping",
    "Swept",
    "Written",
    "apply",
    "inspect",
    "prune",
    "quantize",
    "sweep",
]
