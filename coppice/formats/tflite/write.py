"""Write a quantized Keras model as `.tflite`: converted by TensorFlow, put into few bits, and run by LiteRT.

The weights were rounded on the model as its user knows it. That model, in floats, is converted as any other, and the
grids are read off the weights that the converter made of it: it transposes them and folds batch norms into them, which
multiplies whole channels, so that every channel still lies on a grid.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coppice.errors import ModelInvalid, PrecisionImpossible, ReloadFailed, SamplesMissing, UnsupportedLayer
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.keras.source import KerasSource
from coppice.formats.quantized import Quantizing, Written
from coppice.formats.source import Latency
from coppice.formats.tflite.account import Product, arithmetic_of, floating_layers, notes_of, operators_of
from coppice.formats.tflite.environment import litert_python
from coppice.formats.tflite.order import in_order
from coppice.formats.tflite.scopes import Scopes
from coppice.keras_layers.tree import tensors_in
from coppice.records.quantization import Precision
from coppice.records.report import Artifact
from coppice.tracing.samples import Samples

#: Importing TensorFlow takes ten seconds, a large model on a busy machine minutes.
SECONDS = 600

#: Layers whose meaning is code in the file, which Keras would run on loading it.
_CODE = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda"})
#: What a failed conversion is to the user.
_FAILURES = {"load": ModelInvalid, "operator": UnsupportedLayer}
_INSTEAD = "Use format=onnx, which is written without TensorFlow."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Where the files of one job are, and who makes them."""

    folder: Path
    python: Path

    def run(self, script: str, what: str, job: dict[str, Any]) -> dict[str, Any]:
        """The verdict of a script; raises ReloadFailed where it crashed."""
        try:
            verdict = run_clean(f"tflite/{script}", job, self.folder, seconds=SECONDS, python=self.python)
        except CleanProcessFailed as e:
            raise ReloadFailed(f"{what} failed in a process of its own: {e}. {_INSTEAD}") from e
        if not isinstance(verdict, dict):
            raise ReloadFailed(f"{what} gave no verdict in a process of its own. {_INSTEAD}")
        return verdict

    def path(self, name: str) -> str:
        """A file in the folder."""
        return str(self.folder / name)

    def saved(self, kind: str, samples: tuple[Tensor, ...]) -> list[str]:
        """The files of samples, one for each input."""
        paths = [self.folder / f"{kind}_{number}.npy" for number in range(len(samples))]
        for path, rows in zip(paths, samples, strict=True):
            np.save(path, rows.numpy())
        return [str(path) for path in paths]


def write(task: Quantizing, out: Path) -> Written:
    """Write `<name>_quantized.tflite` into `out` and run it.

    Raises NotInstalled, SamplesMissing, PrecisionImpossible, ModelInvalid, UnsupportedLayer, ReloadFailed.
    """
    source = task.source
    if not isinstance(source, KerasSource):
        raise TypeError(f"a {type(source).__name__} holds no Keras model")
    python = litert_python()
    _refuse(task, source)
    artifact = Artifact(name="quantized", file=f"{source.stem}_quantized.tflite")
    # Beside the file: temporary folders may be small, and these hold the model several times.
    with tempfile.TemporaryDirectory(dir=out, prefix=".tflite-") as name:
        work = _Work(folder=Path(name).absolute(), python=python)
        batch = _converted(task, source, work)
        scopes = Scopes(layers=source.network.layers, generation=source.dialect.generation)
        again = () if _halves(task) else _quantized(task, work, batch, scopes)
        file = Path(work.path("quantized.tflite")).rename(out / artifact.file)
        ran = _ran(task, work, file, batch)
        return Written(
            artifacts=(artifact,),
            runtime=ran.runtime,
            bytes_by_type=ran.bytes_by_type,
            float_bytes=Path(work.path("floats.tflite")).stat().st_size,
            outputs=ran.outputs if task.held_out is not None else None,
            arithmetic=arithmetic_of(ran.products),
            operators=operators_of(ran.products),
            floating={} if _halves(task) else floating_layers(ran.products, task, scopes),
            latencies=ran.latencies,
            notes=notes_of(ran.products, task, batch, again),
        )


def _halves(task: Quantizing) -> bool:
    return task.wanted.numbers.weights is Precision.FLOAT16


def _refuse(task: Quantizing, source: KerasSource) -> None:
    for layer in source.network.layers:
        if layer.kind in _CODE:
            raise UnsupportedLayer(
                f"Layer {layer.name!r} ({layer.kind}) is code in the file, which Coppice doesn't run, so TensorFlow "
                f"can't convert the model. Replace it by standard Keras layers. {_INSTEAD}",
                field=layer.name,
            )
    if task.wanted.numbers.activations.calibrated and task.calibration is None:
        raise SamplesMissing(
            "activations=int8 needs samples to find their scales. Send some as `dataset`, or use activations=dynamic.",
            field="activations",
        )
    if _halves(task) and task.model.coded:
        raise PrecisionImpossible(
            "A .tflite file of float16 holds no layer in whole numbers. Leave `layers` out, or use format=safetensors.",
            field="layers",
        )


def _converted(task: Quantizing, source: KerasSource, work: _Work) -> int:
    """Convert the model to floats (and halves); gives how many samples the file takes at a time."""
    job = {
        "model": str(source.write_keras(task.model.module, work.folder)),
        "generation": source.dialect.generation.value,
        "shapes": [list(entry.shape) for entry in source.network.inputs],
        "folder": work.path("saved"),
        "floats": work.path("floats.tflite"),
        "halves": work.path("quantized.tflite") if _halves(task) else None,
    }
    verdict = work.run("clean_convert.py", "TensorFlow's converter", job)
    if reason := verdict.get("failure"):
        raise _FAILURES[verdict["kind"]](f"format=tflite: {reason}. {_INSTEAD}", field="format")
    return int(verdict["batch"])


def _quantized(task: Quantizing, work: _Work, batch: int, scopes: Scopes) -> tuple[str, ...]:
    """Put the floats into few bits; gives the layers whose weights had to be rounded again for that."""
    static = task.wanted.numbers.activations.calibrated
    job = {
        "model": work.path("floats.tflite"),
        "out": work.path("quantized.tflite"),
        "samples": work.saved("calibration", task.calibration.inputs) if static and task.calibration else [],
        "kept": scopes.words(scopes.by_layer(task.model.left)),
        "batch": batch,
    }
    verdict = work.run("clean_quantize.py", "AI Edge Quantizer", job)
    if reason := verdict.get("failure"):
        strange = f", perhaps because of its operators {', '.join(verdict['strange'])}" if verdict["strange"] else ""
        nearest = "Nearest: activations=dynamic. Or" if static else "Nearest:"
        raise UnsupportedLayer(
            f"AI Edge Quantizer does not take the model{strange}: {reason}. {nearest} format=onnx.", field="format"
        )
    return tuple(dict.fromkeys(scopes.layer_of(scope) for scope in verdict["again"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What LiteRT made of the file."""

    runtime: str
    products: Sequence[Product]
    bytes_by_type: Mapping[str, int]
    outputs: tuple[Tensor, ...]  # in the model's order
    latencies: tuple[Latency, Latency]  # of the floats, and of the file


def _ran(task: Quantizing, work: _Work, file: Path, batch: int) -> _Ran:
    """Run the file and its floats in LiteRT; the floats must be the model that was converted."""
    samples = task.held_out or Samples(inputs=task.source.network.inputs)
    job = {
        "floats": work.path("floats.tflite"),
        "model": str(file.absolute()),
        "samples": work.saved("sample", samples.inputs),
        "batch": batch,
        "floats_out": work.path("floats.npz"),
        "outputs_out": work.path("outputs.npz"),
    }
    verdict = work.run("clean_interpreter.py", "LiteRT", job)
    if reason := verdict.get("failure"):
        raise ReloadFailed(f"{reason}. {_INSTEAD}")
    with torch.no_grad():
        wanted = tensors_in(task.model.module(*samples[slice(0, batch)].inputs))
    order = in_order(_arrays(work.path("floats.npz")), wanted)
    outputs = _arrays(work.path("outputs.npz"))
    before, after = (Latency(milliseconds=middle, spread=spread) for middle, spread in verdict["latencies"])
    return _Ran(
        runtime=verdict["runtime"],
        products=verdict["products"],
        bytes_by_type=verdict["bytes"],
        outputs=tuple(outputs[place] for place in order),
        latencies=(before, after),
    )


def _arrays(path: str) -> list[Tensor]:
    with np.load(path) as arrays:
        return [torch.from_numpy(arrays[name]) for name in arrays.files]
