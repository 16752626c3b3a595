"""The library: prune a live model in this process, once or by several ratios, or keep its numbers in fewer bits.

result = coppice.prune(model, percent=0.4, omit=["fc"], example_inputs=(x,))
result.model, result.plan.kept["conv1.weight"][0], result.report.after.parameters
coppice.quantize(result.model, precision="int8", samples=(x, y), out="small").files["quantized"]
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

import torch
from torch import nn

from coppice import keras_live, pipeline, sweeping
from coppice.errors import BadRequest, InputSizeInvalid, ParameterMissing, PrecisionImpossible
from coppice.formats.given import given, save_given
from coppice.formats.onnx import live as onnx_live
from coppice.formats.pytorch.live import LiveTorch
from coppice.formats.pytorch.named_inputs import forget_names, give_by_name
from coppice.quantizing import quantized
from coppice.records.frameworks import Framework
from coppice.records.keywords import ATTRIBUTES, Numbers, Options, Shape, Sweeping
from coppice.records.plan import Plan
from coppice.records.quantization import Format, Precision
from coppice.records.report import Inspection, Progress, Report, Tell
from coppice.records.request import SHOWN, Part, Request, Task
from coppice.records.samples_needed import check_samples
from coppice.records.spot import Spot
from coppice.records.sweep import Sweep
from coppice.records.texts import READERS
from coppice.steps.apply import copied
from coppice.tracing import Layer, Network

Inputs = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """Models of other frameworks: they go through a file of their own, so that they come back as they were built."""

    framework: Framework
    save: Callable[[Any, Path], Path]
    load: Callable[[Any, Path], Any]


#: What recognises a live model of another framework -> how it becomes a file and comes back.
_LIVE: dict[Callable[[object], bool], _Live] = {
    keras_live.is_keras_model: _Live(framework=Framework.KERAS, save=keras_live.save_live, load=keras_live.load_live),
    onnx_live.is_onnx_model: _Live(framework=Framework.ONNX, save=onnx_live.save_live, load=onnx_live.load_live),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A pruned model of the user's own class, what was kept of every tensor, and the account."""

    model: Any
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
    results: Mapping[float, Result]
    written: Mapping[tuple[float, Precision], Written]

    def _repr_html_(self) -> str:
        """What a notebook shows: the report."""
        return self.report._repr_html_()


#: What a function may be told beside what it names itself.
_KEYWORDS: Mapping[Task, type] = {
    Task.PRUNE: Options,
    Task.SWEEP: Sweeping,
    Task.INSPECT: Shape,
    Task.QUANTIZE: Numbers,
}


def prune(
    model: Any,
    *,
    percent: float | None = None,
    max_drop: float | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    **options: Unpack[Options],
) -> Result:
    """Remove `percent` of the channels of every prunable group of a torch, Keras or ONNX model; it stays untouched.

    `example_inputs` are what `model(*example_inputs)` takes, batch dimension included, or a mapping of what it takes
    by keyword; Keras and ONNX models state their own. An ONNX model is a `ModelProto`, or the path of a file; the
    result is a `ModelProto`.
    `samples` of the user's data repair what the cut leaves and judge it: an array, `(x, y)`, a mapping, a loader, or
    batches of these. `max_drop` then looks for the smallest model that loses no more than that of its accuracy.
    The other keywords are those of `Options`. Raises a `CoppiceError`.
    """
    _check_keywords(options, Task.PRUNE)
    told = {**options, "percent": percent, "max_drop": max_drop}
    if (live := _live(model)) is not None:
        request = _request(live.framework, Task.PRUNE, told)
        with _saved(model, live, request, samples) as (asked, files, out):
            pipeline.run(asked, files, out, _silent)
            return _loaded(model, live, out)
    request = _request(Framework.PYTORCH, Task.PRUNE, told)
    network = _network(model, example_inputs, samples, request.seed)
    pruned = pipeline.prune(network, request, _silent)
    return _result(model, pruned, pipeline.report_on(network, pruned, request))


def quantize(
    model: Any,
    *,
    out: Path | str,
    precision: str | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
    **numbers: Unpack[Numbers],
) -> Written:
    """Keep the numbers of a torch, Keras or ONNX model in fewer bits, in files in the folder `out`; it stays untouched.

    `precision` is that of the weights, and of biases and activations what goes with it: "int8" finds the scales of
    activations on `samples`. A live torch model becomes ONNX; it has no class file, which packed safetensors need.
    The other keywords are those of `Numbers`, the rest as in `prune`. Raises a `CoppiceError`.
    """
    _check_keywords(numbers, Task.QUANTIZE)
    told = {"precision": precision, **{ATTRIBUTES.get(name, name): value for name, value in numbers.items()}}
    live, folder = _live(model), Path(out)
    request = _request(Framework.PYTORCH if live is None else live.framework, Task.QUANTIZE, told)
    check_samples(request, samples is not None)
    if live is None:
        _check_classless(request)
    folder.mkdir(parents=True, exist_ok=True)
    if live is not None:
        with _saved(model, live, request, samples) as (asked, files, _):
            report = pipeline.quantize(asked, files, folder, _silent)
    else:
        source = LiveTorch(network=_network(model, example_inputs, samples, request.seed))
        report = pipeline.quantize_source(source, request, {}, folder, _silent)
    return Written(files={one.name: folder / one.file for one in report.artifacts}, report=report)


def sweep(
    model: Any,
    *,
    percents: Sequence[float] = (),
    precisions: Sequence[str] = (),
    out: Path | str | None = None,
    example_inputs: Inputs | None = None,
    samples: Any = None,
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
    live = _live(model)
    request = _request(Framework.PYTORCH if live is None else live.framework, Task.SWEEP, told)
    if out is None and any(spot.quantized for spot in request.spots):
        raise ParameterMissing(
            "out is missing: quantized models are files. Name a folder for them, e.g. out='swept'.", field="out"
        )
    if live is not None:
        with _saved(model, live, request, samples) as (asked, files, scratch):
            curve, reports = sweeping.sweep_files(asked, files, scratch, _silent)
            results = {
                spot.percent: _loaded(model, live, scratch / spot.label) for spot in reports if not spot.quantized
            }
            return Swept(report=curve, results=results, written=_written(reports, scratch, out))
    with TemporaryDirectory() as name:
        network = _network(model, example_inputs, samples, request.seed)
        curve, reports, cuts = _swept(network, request, Path(name))
        written = _written(reports, Path(name), out)
    wanted = {spot.percent for spot in reports if not spot.quantized}
    results = {percent: _result(model, *cut) for percent, cut in cuts.items() if percent in wanted}
    return Swept(report=curve, results=results, written=written)


_Cuts = dict[float, tuple[pipeline.Pruned, Report]]


def _swept(network: Network, request: Request, folder: Path) -> tuple[Sweep, Mapping[Spot, Report], _Cuts]:
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

    curve, reports = sweeping.sweep_network(network, request, sweeping.Makers(finish=finish, quantize=fewer), _silent)
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


def inspect(
    model: Any,
    *,
    percent: float = SHOWN,
    example_inputs: Inputs | None = None,
    **shape: Unpack[Shape],
) -> Inspection:
    """The groups of a live model that could be pruned and the channels that can't, with reasons; nothing is cut.

    The other keywords are those of `Shape`.
    """
    _check_keywords(shape, Task.INSPECT)
    told = {**shape, "percent": percent}
    if (live := _live(model)) is not None:
        request = _request(live.framework, Task.INSPECT, told)
        with _saved(model, live, request) as (asked, files, out):
            return pipeline.inspect(asked, files, out, _silent)
    request = _request(Framework.PYTORCH, Task.INSPECT, told)
    return pipeline.inspect_network(_network(model, example_inputs), request)


def _result(model: nn.Module, pruned: pipeline.Pruned, report: Report) -> Result:
    """Called when all is measured: a forward pass in training mode would move the statistics of the result."""
    forget_names(pruned.module)
    for part, original in zip(pruned.module.modules(), model.modules(), strict=True):
        part.training = original.training
    return Result(model=pruned.module, plan=pruned.plan, report=report)


@contextmanager
def _saved(
    model: Any, live: _Live, request: Request, samples: Any = None
) -> Iterator[tuple[Request, dict[Part, Path], Path]]:
    """A model of another framework as an upload, and a folder for what becomes of it."""
    with TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out"
        out.mkdir()
        files = {Part.MODEL: live.save(model, folder)}
        if samples is not None:
            files[Part.DATASET] = save_given(samples, folder, seed=request.seed)
        yield request.model_copy(update={"files": {part: path.name for part, path in files.items()}}), files, out


def _loaded(model: Any, live: _Live, out: Path) -> Result:
    """What a job left in a folder, as live as the model was."""
    report = Report.model_validate_json((out / "report.json").read_bytes())
    files = {artifact.name: out / artifact.file for artifact in report.artifacts}
    plan = Plan.model_validate_json(files["plan"].read_bytes())
    return Result(model=live.load(model, files["model"]), plan=plan, report=report)


def _live(model: object) -> _Live | None:
    return next((live for recognises, live in _LIVE.items() if recognises(model)), None)


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
        raise BadRequest(f"omit={omit!r} is one text. Give a list of layer names: omit=[{omit!r}].", field="omit")
    values = {name: READERS[name](value) for name, value in told.items() if value is not None}
    return Request.model_validate({**values, "framework": framework, "task": task})


def _network(model: Any, example_inputs: Inputs | None, samples: Any = None, seed: int = 0) -> Network:
    if not isinstance(model, nn.Module):
        raise BadRequest(
            f"Give a torch.nn.Module, a Keras or an ONNX model, not {type(model).__name__}.", field="model"
        )
    if example_inputs is None and samples is None:
        raise InputSizeInvalid(
            "example_inputs is missing. Give what the model takes, e.g. example_inputs=(torch.randn(1, 3, 224, 224),), "
            "or samples of your data.",
            field="example_inputs",
        )
    module = copied(model).eval()
    inputs: tuple[torch.Tensor, ...] | None = None
    if isinstance(example_inputs, Mapping):
        give_by_name(module, tuple(example_inputs))
        inputs = tuple(example_inputs.values())
    elif example_inputs is not None:
        inputs = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    layers = tuple(
        Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
    )
    if samples is None and inputs is not None:
        return Network(module=module, inputs=inputs, layers=layers)
    read = given(samples, module, inputs=inputs, seed=seed)
    return Network(module=module, inputs=inputs or read.inputs, layers=layers, samples=read.samples, notes=read.notes)


def _silent(_: Progress) -> None:
    """In-process calls are short; nobody listens."""
