"""The library: prune a live model in this process.

result = coppice.prune(model, percent=0.4, omit=["fc"], example_inputs=(x,))
result.model, result.plan.kept["conv1.weight"][0], result.report.after.parameters
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict, Unpack

import torch
from torch import nn

from coppice import pipeline
from coppice.errors import BadRequest, InputSizeInvalid
from coppice.formats.keras import live as keras_live
from coppice.formats.onnx import live as onnx_live
from coppice.formats.pytorch.named_inputs import forget_names, give_by_name
from coppice.records.plan import Plan
from coppice.records.report import Inspection, Progress, Report
from coppice.records.request import Framework, Part, Request, Task
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


class Options(TypedDict, total=False):
    """How a model is cut: what `prune` and `sweep` may be told beside the model and how much of it is to go."""

    omit: Sequence[str]  # layers that keep their output channels: names, prefixes or globs
    criterion: str  # "auto" is "obs" where there are samples and "l1" where there are none
    spread: str  # "uniform": every group loses the same share; "global": taken where the model misses it least
    target: str  # what `percent` is a share of: "channels", "params", "macs", "bytes" or "latency"
    round_to: int  # widths that are cut become multiples of it
    ratios: Mapping[str, float]  # layer, prefix or glob -> its own share, in place of `percent`
    keep: Mapping[str, Sequence[int]]  # layer -> numbers of output channels that stay
    restore: bool  # repair the kept weights where there are samples; it is so unless said otherwise
    seed: int
    heads: str  # of attention: "width" makes every head narrower, "whole" removes heads


def prune(
    model: Any,
    *,
    percent: float | None = None,
    max_drop: float | None = None,
    example_inputs: Inputs | None = None,
    **options: Unpack[Options],
) -> Result:
    """Remove `percent` of the channels of every prunable group of a torch, Keras or ONNX model; it stays untouched.

    `example_inputs` are what `model(*example_inputs)` takes, batch dimension included, or a mapping of what it takes
    by keyword; Keras and ONNX models state their own. An ONNX model is a `ModelProto`, or the path of a file; the
    result is a `ModelProto`.
    `max_drop` looks for the smallest model that loses no more than that of its accuracy on the samples.
    The other keywords are those of `Options`. Raises a `CoppiceError`.
    """
    given = {**options, "percent": percent, "max_drop": max_drop}
    if (live := _live(model)) is not None:
        return _prune_live(model, live, _request(live.framework, Task.PRUNE, given))
    request = _request(Framework.PYTORCH, Task.PRUNE, given)
    network = _network(model, example_inputs)
    pruned = pipeline.prune(network, request, _silent)
    return _result(model, network, pruned, request)


def _result(model: nn.Module, network: Network, pruned: pipeline.Pruned, request: Request) -> Result:
    report = pipeline.report_on(network, pruned, request)
    forget_names(pruned.module)
    # After the measuring: a forward pass in training mode would move the batch-norm statistics of the result.
    for part, original in zip(pruned.module.modules(), model.modules(), strict=True):
        part.training = original.training
    return Result(model=pruned.module, plan=pruned.plan, report=report)


def inspect(
    model: Any,
    *,
    percent: float = 0.5,
    omit: Sequence[str] = (),
    example_inputs: Inputs | None = None,
    heads: str = "width",
) -> Inspection:
    """The groups of a live model that could be pruned and the channels that can't, with reasons; nothing is cut."""
    given = {"percent": percent, "omit": omit, "heads": heads}
    if (live := _live(model)) is not None:
        request = _request(live.framework, Task.INSPECT, given)
        with TemporaryDirectory() as folder:
            saved = live.save(model, Path(folder))
            request = request.model_copy(update=_named(saved))
            return pipeline.inspect(request, {Part.MODEL: saved}, Path(folder), _silent)
    request = _request(Framework.PYTORCH, Task.INSPECT, given)
    return pipeline.inspect_network(_network(model, example_inputs), request)


def _live(model: object) -> _Live | None:
    return next((live for recognises, live in _LIVE.items() if recognises(model)), None)


def _prune_live(model: Any, live: _Live, request: Request) -> Result:
    with TemporaryDirectory() as folder:
        saved = live.save(model, Path(folder))
        out = Path(folder) / "out"
        out.mkdir()
        report = pipeline.run(request.model_copy(update=_named(saved)), {Part.MODEL: saved}, out, _silent)
        files = {artifact.name: out / artifact.file for artifact in report.artifacts}
        plan = Plan.model_validate_json(files["plan"].read_bytes())
        return Result(model=live.load(model, files["model"]), plan=plan, report=report)


def _request(framework: Framework, task: Task, given: Mapping[str, object]) -> Request:
    for name in given:
        if name not in READERS:
            raise TypeError(f"no keyword is called {name!r}; see coppice.library.Options")
    if isinstance(omit := given.get("omit"), str):
        raise BadRequest(f"omit={omit!r} is one text. Give a list of layer names: omit=[{omit!r}].", field="omit")
    values = {name: READERS[name](value) for name, value in given.items() if value is not None}
    return Request.model_validate({**values, "framework": framework, "task": task})


def _network(model: Any, example_inputs: Inputs | None) -> Network:
    if not isinstance(model, nn.Module):
        raise BadRequest(
            f"Give a torch.nn.Module, a Keras or an ONNX model, not {type(model).__name__}.", field="model"
        )
    if example_inputs is None:
        raise InputSizeInvalid(
            "example_inputs is missing. Give what the model takes, e.g. example_inputs=(torch.randn(1, 3, 224, 224),).",
            field="example_inputs",
        )
    module = copied(model).eval()
    if isinstance(example_inputs, Mapping):
        give_by_name(module, tuple(example_inputs))
        inputs = tuple(example_inputs.values())
    else:
        inputs = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    layers = tuple(
        Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
    )
    return Network(module=module, inputs=inputs, layers=layers)


def _named(saved: Path) -> dict[str, Any]:
    return {"files": {Part.MODEL: saved.name}}


def _silent(_: Progress) -> None:
    """In-process calls are short; nobody listens."""
