"""What a model, its class and its samples may be given as, and how each becomes a file to send.

A path; bytes; a live object of a framework that is loaded already, saved by its own means. Nothing is imported here
that its user has not imported: a live model's framework is among the modules of its process.
"""

from __future__ import annotations

import inspect
import io
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coppice import keras_live
from coppice.errors import NotAModel, NotInstalled, ParameterInvalid, ParameterMissing, UnknownFormat
from coppice.records.frameworks import Framework
from coppice.records.plan import Plan
from coppice.records.request import Part

#: What stands first in a file -> the suffix by which it is known.
_HEADS = ((b"\x89HDF\r\n\x1a\n", ".h5"), (b"\x93NUMPY", ".npy"))
_ZIP = b"PK\x03\x04"
_NAMES = {Framework.PYTORCH: "PyTorch", Framework.KERAS: "Keras", Framework.ONNX: "ONNX"}
#: Of a part's bytes that say nothing by themselves.
_SUFFIXES = {
    (Framework.PYTORCH, Part.WEIGHTS): ".pt",
    (Framework.KERAS, Part.MODEL): ".h5",
    (Framework.ONNX, Part.MODEL): ".onnx",
}


def model_file(model: Any, framework: Framework, folder: Path) -> Path:
    """The file of a model; one is made in the folder where there is none."""
    part = Part.WEIGHTS if framework is Framework.PYTORCH else Part.MODEL
    path = _file(model, part, framework, folder)
    if path is not None:
        return path
    saved = _SAVERS[framework](model, folder)
    if saved is None:
        raise NotAModel(
            f"Give a path, bytes, or a live model of {_NAMES[framework]}, not {type(model).__name__}.", field=part
        )
    return saved


def class_file(given: Any, model: Any, folder: Path) -> Path:
    """The file of a PyTorch model's class: the given one, or that from which a live model's class was imported."""
    if given is not None:
        path = _file(given, Part.CLASS_DEF, Framework.PYTORCH, folder)
        if path is None:
            raise ParameterInvalid(
                f"class_def is a path or the bytes of a Python file, not {type(given).__name__}.", field="class_def"
            )
        return path
    kind = type(model)
    # What stands in a script or a notebook would run anew, and what is in a package may need the rest of it.
    alone = _is_module(model) and kind.__module__ != "__main__" and "." not in kind.__module__
    found = inspect.getsourcefile(kind) if alone else None
    if found is None:
        raise ParameterMissing(
            "class_def is missing. Weights hold tensors only: name the Python file that defines the model, e.g. "
            "class_def='model.py', model_name='Net'.",
            field="class_def",
        )
    return Path(found)


def class_name(model: Any) -> str | None:
    """The class of a live PyTorch model."""
    return type(model).__name__ if _is_module(model) else None


def samples_file(samples: Any, folder: Path) -> Path:
    """The file of samples: a path, bytes, an array, `(x, y)`, or a mapping of arrays."""
    path = _file(samples, Part.DATASET, Framework.PYTORCH, folder)
    if path is not None:
        return path
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise NotInstalled("Samples that are no file are saved by numpy, which is not loaded. Give a file.")
    path = folder / "samples.npz"
    if isinstance(samples, Mapping):
        numpy.savez(path, **{str(name): numpy.asarray(array) for name, array in samples.items()})
    else:
        arrays = samples if isinstance(samples, tuple | list) else (samples,)
        numpy.savez(path, *map(numpy.asarray, arrays))
    return path


def plan_file(plan: Plan | str | os.PathLike[str], folder: Path) -> Path:
    """The file of a plan: the given one, or one that is made in the folder."""
    if not isinstance(plan, Plan):
        plan = Plan.load(plan)  # refused here, not where it is sent
    path = folder / "plan.json"
    plan.save(path)
    return path


def zipped(folder: Path, into: Path) -> Path:
    """A SavedModel's folder as the zip that a service takes."""
    if not (folder / "saved_model.pb").is_file():
        raise UnknownFormat(f"{folder}: a folder without saved_model.pb is no SavedModel.", field="file")
    archive = into / f"{folder.resolve().name}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder.parent))
    return archive


def _file(given: Any, part: Part, framework: Framework, folder: Path) -> Path | None:
    """The file of what is one, or is the bytes of one; None for a live object."""
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if path.is_dir() and part is Part.MODEL:
            return zipped(path, folder)
        if not path.is_file():
            raise ParameterMissing(f"{path}: no such file.", field=part.value)
        return path
    if isinstance(given, bytes | bytearray | memoryview):
        raw = bytes(given)
        path = folder / f"{part.value}{_suffix(raw, part, framework)}"
        path.write_bytes(raw)
        return path
    return None


def _suffix(raw: bytes, part: Part, framework: Framework) -> str:
    if part is Part.CLASS_DEF:
        return ".py"
    for head, suffix in _HEADS:
        if raw.startswith(head):
            return suffix
    if raw[8:9] == b"{":  # a length, and then a header in JSON
        return ".safetensors"
    if raw.startswith(_ZIP) and framework is not Framework.PYTORCH:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return ".keras" if "config.json" in archive.namelist() else ".zip"
    if part is Part.DATASET:
        return ".npz" if raw.startswith(_ZIP) and b".npy" in raw[:200] else ".pt"
    return _SUFFIXES[framework, part]


def _is_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _save_torch(model: Any, folder: Path) -> Path | None:
    """A module's state dict, or one by itself."""
    if not _is_module(model) and not isinstance(model, Mapping):
        return None
    path = folder / f"{class_name(model) or 'weights'}.pt"
    sys.modules["torch"].save(model.state_dict() if _is_module(model) else dict(model), path)
    return path


def _save_keras(model: Any, folder: Path) -> Path | None:
    return keras_live.save_live(model, folder) if keras_live.is_keras_model(model) else None


def _save_onnx(model: Any, folder: Path) -> Path | None:
    """A `ModelProto`."""
    if not callable(serialize := getattr(model, "SerializeToString", None)):
        return None
    path = folder / "model.onnx"
    path.write_bytes(serialize())
    return path


#: What saves a live model; None where it is none of that framework.
_SAVERS: Mapping[Framework, Callable[[Any, Path], Path | None]] = {
    Framework.PYTORCH: _save_torch,
    Framework.KERAS: _save_keras,
    Framework.ONNX: _save_onnx,
}
