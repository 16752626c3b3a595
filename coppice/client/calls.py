"""The calls that take a model: one method for each task and framework. Each sends a job and gives it in hand.

A model is a path, bytes, or a live object of its framework; or an earlier `Job`, whose result is taken. Everything that
a request may say is a keyword: see `coppice.client.keywords`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from coppice.client.bar import telling
from coppice.client.job import Job
from coppice.client.keywords import Curve, Looking, Pruning, Quantizing
from coppice.client.models import class_file, class_name, model_file, plan_file
from coppice.client.samples import samples_file
from coppice.errors import ParameterInvalid
from coppice.records import terms
from coppice.records.frameworks import Framework
from coppice.records.keywords import ATTRIBUTES
from coppice.records.report import Inspection, Report, Tell
from coppice.records.request import SHOWN, Part, Request, Task
from coppice.records.samples_needed import check_samples
from coppice.records.sweep import Sweep
from coppice.records.terms import Terms
from coppice.records.texts import READERS


class Calls(ABC):
    """What a client can ask for; how a job is sent is `start`."""

    def prune_pytorch(
        self,
        model: Any,
        /,
        *,
        percent: float | None = None,
        max_drop: float | None = None,
        class_def: Any = None,
        model_name: str | None = None,
        model_args: Any = None,
        **options: Unpack[Pruning],
    ) -> Job[Report]:
        """Remove `percent` of the channels of every prunable group of a PyTorch model.

        The model is a file of weights, or a live module or state dict. `class_def` is the Python file of its class
        `model_name`, built with `model_args`: a mapping or a list; of a live module both are found where its class was
        imported from a file. `input_size` is the shape of one sample.
        """
        told = {"percent": percent, "max_drop": max_drop, "model_name": model_name, "model_args": model_args}
        return self._send(Task.PRUNE, Framework.PYTORCH, model, {**told, **options}, class_def)

    def prune_keras(
        self, model: Any, /, *, percent: float | None = None, max_drop: float | None = None, **options: Unpack[Pruning]
    ) -> Job[Report]:
        """Remove `percent` of the channels of every prunable group of a Keras model: .h5, .keras, SavedModel, live."""
        return self._send(Task.PRUNE, Framework.KERAS, model, {"percent": percent, "max_drop": max_drop, **options})

    def prune_onnx(
        self, model: Any, /, *, percent: float | None = None, max_drop: float | None = None, **options: Unpack[Pruning]
    ) -> Job[Report]:
        """Remove `percent` of the channels of every prunable group of an ONNX model: a file, or a `ModelProto`."""
        return self._send(Task.PRUNE, Framework.ONNX, model, {"percent": percent, "max_drop": max_drop, **options})

    def quantize_pytorch(
        self,
        model: Any,
        /,
        *,
        precision: str | None = None,
        class_def: Any = None,
        model_name: str | None = None,
        model_args: Any = None,
        **numbers: Unpack[Quantizing],
    ) -> Job[Report]:
        """Keep the numbers of a PyTorch model in fewer bits; the model as in `prune_pytorch`."""
        told = {"precision": precision, "model_name": model_name, "model_args": model_args}
        return self._send(Task.QUANTIZE, Framework.PYTORCH, model, {**told, **numbers}, class_def)

    def quantize_keras(
        self, model: Any, /, *, precision: str | None = None, **numbers: Unpack[Quantizing]
    ) -> Job[Report]:
        """Keep the numbers of a Keras model in fewer bits."""
        return self._send(Task.QUANTIZE, Framework.KERAS, model, {"precision": precision, **numbers})

    def quantize_onnx(
        self, model: Any, /, *, precision: str | None = None, **numbers: Unpack[Quantizing]
    ) -> Job[Report]:
        """Keep the numbers of an ONNX model in fewer bits."""
        return self._send(Task.QUANTIZE, Framework.ONNX, model, {"precision": precision, **numbers})

    def sweep_pytorch(
        self,
        model: Any,
        /,
        *,
        percents: Sequence[float] = (),
        precisions: Sequence[str] = (),
        class_def: Any = None,
        model_name: str | None = None,
        model_args: Any = None,
        **options: Unpack[Curve],
    ) -> Job[Sweep]:
        """Compare several ratios and precisions of a PyTorch model; the model as in `prune_pytorch`."""
        told = {"percents": percents or None, "precisions": precisions or None}
        built = {"model_name": model_name, "model_args": model_args}
        return self._send(Task.SWEEP, Framework.PYTORCH, model, {**told, **built, **options}, class_def)

    def sweep_keras(
        self, model: Any, /, *, percents: Sequence[float] = (), precisions: Sequence[str] = (), **options: Unpack[Curve]
    ) -> Job[Sweep]:
        """Compare several ratios and precisions of a Keras model."""
        told = {"percents": percents or None, "precisions": precisions or None}
        return self._send(Task.SWEEP, Framework.KERAS, model, {**told, **options})

    def sweep_onnx(
        self, model: Any, /, *, percents: Sequence[float] = (), precisions: Sequence[str] = (), **options: Unpack[Curve]
    ) -> Job[Sweep]:
        """Compare several ratios and precisions of an ONNX model."""
        told = {"percents": percents or None, "precisions": precisions or None}
        return self._send(Task.SWEEP, Framework.ONNX, model, {**told, **options})

    def inspect_pytorch(
        self,
        model: Any,
        /,
        *,
        percent: float = SHOWN,
        class_def: Any = None,
        model_name: str | None = None,
        model_args: Any = None,
        **shape: Unpack[Looking],
    ) -> Job[Inspection]:
        """What of a PyTorch model could go, and what can't, with reasons; the model as in `prune_pytorch`."""
        told = {"percent": percent, "model_name": model_name, "model_args": model_args}
        return self._send(Task.INSPECT, Framework.PYTORCH, model, {**told, **shape}, class_def)

    def inspect_keras(self, model: Any, /, *, percent: float = SHOWN, **shape: Unpack[Looking]) -> Job[Inspection]:
        """What of a Keras model could go, and what can't, with reasons; nothing is cut."""
        return self._send(Task.INSPECT, Framework.KERAS, model, {"percent": percent, **shape})

    def inspect_onnx(self, model: Any, /, *, percent: float = SHOWN, **shape: Unpack[Looking]) -> Job[Inspection]:
        """What of an ONNX model could go, and what can't, with reasons; nothing is cut."""
        return self._send(Task.INSPECT, Framework.ONNX, model, {"percent": percent, **shape})

    @abstractmethod
    def start(self, request: Request, files: Mapping[Part, Path], terms: Terms, tell: Tell) -> Job[Any]:
        """Send a job, and have it in hand."""

    def _send(
        self, task: Task, framework: Framework, model: Any, told: Mapping[str, Any], class_def: Any = None
    ) -> Job[Any]:
        given = {ATTRIBUTES.get(name, name): value for name, value in told.items() if value is not None}
        samples, plan, progress = given.pop("samples", None), given.pop("plan", None), given.pop("progress", True)
        asked = {name: terms.READERS[name](str(given.pop(name))) for name in terms.READERS if name in given}
        with TemporaryDirectory(prefix="coppice-") as scratch:
            files = dict[Part, Path]()
            if isinstance(model, Job):
                given["source_txid"] = model.txid
            else:
                files = _files(framework, model, class_def, Path(scratch))
                if framework is Framework.PYTORCH and "model_name" not in given and (name := class_name(model)):
                    given["model_name"] = name
            if samples is not None:
                files[Part.DATASET] = samples_file(samples, Path(scratch))
            if plan is not None:
                files[Part.PLAN] = plan_file(plan, Path(scratch))
            names = {part: path.name for part, path in files.items()}
            values = {**_read(given), "framework": framework, "task": task, "files": names}
            request = Request.model_validate(values)
            check_samples(request, Part.DATASET in files)
            with telling(progress) as tell:
                return self.start(request, files, Terms.model_validate(asked), tell)


#: What is read as a text only -> how that is made of a value.
_TEXTS: Mapping[str, Callable[[Any], object]] = {
    "input_size": lambda sizes: ",".join(map(str, sizes)),
    "model_args": json.dumps,
}


def _files(framework: Framework, model: Any, class_def: Any, scratch: Path) -> dict[Part, Path]:
    if framework is not Framework.PYTORCH:
        return {Part.MODEL: model_file(model, framework, scratch)}
    weights = model_file(model, framework, scratch)
    return {Part.WEIGHTS: weights, Part.CLASS_DEF: class_file(class_def, model, scratch)}


def _read(given: Mapping[str, Any]) -> dict[str, object]:
    values = {}
    for name, value in given.items():
        if name not in READERS:
            raise TypeError(f"no keyword is called {name!r}; see coppice.client.keywords")
        if name == "omit" and isinstance(value, str):
            raise ParameterInvalid(
                f"omit={value!r} is one text. Give a list of layer names: omit=[{value!r}].", field=name
            )
        values[name] = READERS[name](value if isinstance(value, str) else _TEXTS.get(name, _itself)(value))
    return values


def _itself(value: object) -> object:
    return value
