"""What a model, its class and its samples may be given as, and how each becomes a file to send.

A path; bytes; a live object of a framework that is loaded already, saved by its own means. Nothing is imported here
that its user has not imported: a live model's framework is among the modules of its process.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coppice import keras_live
from coppice.client.files import file_of
from coppice.errors import NotAModel, ParameterInvalid, ParameterMissing
from coppice.records.frameworks import Framework
from coppice.records.plan import Plan
from coppice.records.request import Part

_NAMES = {Framework.PYTORCH: "PyTorch", Framework.KERAS: "Keras", Framework.ONNX: "ONNX"}


def model_file(model: Any, framework: Framework, folder: Path) -> Path:
    """The file of a model; one is made in the folder where there is none."""
    part = Part.WEIGHTS if framework is Framework.PYTORCH else Part.MODEL
    path = file_of(model, part, framework, folder)
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
        path = file_of(given, Part.CLASS_DEF, Framework.PYTORCH, folder)
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


def plan_file(plan: Plan | str | os.PathLike[str], folder: Path) -> Path:
    """The file of a plan: the given one, or one that is made in the folder."""
    if not isinstance(plan, Plan):
        plan = Plan.load(plan)  # refused here, not where it is sent
    path = folder / "plan.json"
    plan.save(path)
    return path


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
