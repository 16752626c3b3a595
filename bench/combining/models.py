"""The two models of the documents, trained on MNIST by the programs of the demo, each where its framework is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.combining import mnist
from coppice.records.frameworks import Framework
from coppice.records.quantization import Format
from coppice.records.request import Part
from examples.demo.jobs import KERAS, PYTORCH, ROOT, Job

Array = NDArray[Any]


def _as_torch(pixels: Array) -> Array:
    return ((pixels[:, None].astype(np.float32) / 255 - 0.1307) / 0.3081).astype(np.float32)


def _as_keras(pixels: Array) -> Array:
    return pixels[..., None].astype(np.float32) / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model: who trains it, what is sent of it, how its images are made of pixels, which files it is asked for."""

    title: str
    framework: Framework
    job: Job
    files: Mapping[Part, str]
    asked: Mapping[str, Any]
    images: Callable[[Array], Array]
    formats: Mapping[Format, tuple[str, ...]]  # -> precisions


MODELS: Mapping[str, Entry] = {
    "pytorch": Entry(
        title="PyTorch document",
        framework=Framework.PYTORCH,
        job=PYTORCH,
        files={Part.WEIGHTS: "mnist_cnn.pth", Part.DATASET: "train_loader.pth", Part.CLASS_DEF: "model.py"},
        asked={"input_size": (1, 28, 28), "model_name": "Net"},
        images=_as_torch,
        formats={Format.ONNX: ("float16", "int8", "int4", "int2", "int1")},
    ),
    "keras": Entry(
        title="Keras document",
        framework=Framework.KERAS,
        job=KERAS,
        files={Part.MODEL: "mnist_base.h5", Part.DATASET: "train.npz"},
        asked={},
        images=_as_keras,
        formats={
            Format.TFLITE: ("float16", "int8", "int4"),
            Format.ONNX: ("float16", "int8", "int4", "int2", "int1"),
        },
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where files of one kind run: a Python, and a script that knows nothing of us."""

    python: Path
    script: str


RUNTIMES: Mapping[Format, Runtime] = {
    Format.ONNX: Runtime(python=Path(sys.executable), script="run_onnx.py"),
    Format.TFLITE: Runtime(python=ROOT / ".envs" / "litert" / "bin" / "python", script="run_tflite.py"),
}


def trained(entry: Entry, source: Path, cache: Path) -> Path:
    """The folder of the user's files, with all test images as `images.npz`."""
    mnist.write(source, cache / "data")
    folder = entry.job.trained(cache, cache / "data")
    images = folder / "images.npz"
    if not images.exists():
        with np.load(cache / "data" / "digits.npz") as arrays:
            np.savez(images, x=entry.images(arrays["test_x"]), y=arrays["test_y"].astype(np.int64))
    return folder
