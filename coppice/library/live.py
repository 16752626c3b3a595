"""Models in the user's hands: how they become what the engine reads, and how a result becomes what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from coppice import keras_live, pipeline
from coppice.errors import InputSizeInvalid, NotAModel
from coppice.formats import files_live
from coppice.formats.given import given, save_given
from coppice.formats.onnx import live as onnx_live
from coppice.formats.pytorch.named_inputs import forget_names, give_by_name
from coppice.library.results import Result
from coppice.records.frameworks import Framework
from coppice.records.plan import Plan
from coppice.records.report import Report
from coppice.records.request import Part, Request
from coppice.steps.apply import copied
from coppice.tracing import Layer, Network

Inputs = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]


#: What the report says of a model of transformers: its configuration has no words for most cuts.
_CONFIGURED = (
    "from_pretrained builds a model by its configuration, which states the widths before the cut: keep the result by "
    "torch.save(model, FILE), or save its plan and state dict, apply the plan to a model built by the configuration, "
    "and load the state dict into that"
)
#: Likewise of a model of timm, whose numbers about itself nothing in its passes reads.
_FEATURED = (
    "num_features, head_hidden_size and feature_info state the widths before the cut, and reset_classifier builds by "
    "them: set them to what forward_features gives before it is called"
)
#: What a note is about: the attributes that models of that library have -> the note.
_STALE = {("save_pretrained", "config"): _CONFIGURED, ("num_features", "feature_info"): _FEATURED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Models of other frameworks: they go through a file of their own, so that they come back as they were built."""

    framework: Framework
    save: Callable[[Any, Path], Path]
    load: Callable[[Any, Path], Any]


#: What recognises a live model of another framework -> how it becomes a file and comes back.
_LIVE: dict[Callable[[object], bool], Live] = {
    keras_live.is_keras_model: Live(framework=Framework.KERAS, save=keras_live.save_live, load=keras_live.load_live),
    files_live.is_file_of_plugin: Live(framework=Framework.ONNX, save=files_live.save_live, load=files_live.load_live),
    onnx_live.is_onnx_model: Live(framework=Framework.ONNX, save=onnx_live.save_live, load=onnx_live.load_live),
}


def result_of(model: nn.Module, pruned: pipeline.Pruned, report: Report) -> Result[Any]:
    """A cut of a torch model as its user has it: in the modes, train or eval, of the original.

    Called when all is measured: a forward pass in training mode would move the statistics of the result.
    """
    forget_names(pruned.module)
    for part, original in zip(pruned.module.modules(), model.modules(), strict=True):
        part.training = original.training
    return Result(model=pruned.module, plan=pruned.plan, report=report)


@contextmanager
def saved(
    model: Any, live: Live, request: Request, samples: Any = None
) -> Iterator[tuple[Request, dict[Part, Path], Path]]:
    """A model of another framework as an upload, and a folder for what becomes of it."""
    with TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out"
        out.mkdir()
        files = {Part.MODEL: live.save(model, folder)}
        if samples is not None:
            files[Part.DATASET] = save_given(samples, folder, seed=request.seed)
        yield request.model_copy(update={"files": {part: path.name for part, path in files.items()}}), files, out


def loaded(model: Any, live: Live, out: Path) -> Result[Any]:
    """What a job left in a folder, as live as the model was."""
    report = Report.model_validate_json((out / "report.json").read_bytes())
    files = {artifact.name: out / artifact.file for artifact in report.artifacts}
    plan = Plan.model_validate_json(files["plan"].read_bytes())
    return Result(model=live.load(model, files["model"]), plan=plan, report=report)


def live_of(model: object) -> Live | None:
    """How a live model of another framework than torch is handled; None for all else."""
    return next((live for recognises, live in _LIVE.items() if recognises(model)), None)


def network_of(model: Any, example_inputs: Inputs | None, samples: Any = None, seed: int = 0) -> Network:
    """A copy of a torch model that runs on the user's inputs, or on his samples; raises a BadRequest."""
    if not isinstance(model, nn.Module):
        raise NotAModel(f"Give a torch.nn.Module, a Keras or an ONNX model, not {type(model).__name__}.", field="model")
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
    notes = tuple(note for attributes, note in _STALE.items() if all(hasattr(model, name) for name in attributes))
    if samples is None and inputs is not None:
        return Network(module=module, inputs=inputs, layers=layers, notes=notes)
    read = given(samples, module, inputs=inputs, seed=seed)
    notes += read.notes
    return Network(module=module, inputs=inputs or read.inputs, layers=layers, samples=read.samples, notes=notes)
