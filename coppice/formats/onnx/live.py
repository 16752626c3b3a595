"""Live ONNX models of a user's own process: a `ModelProto`, or the path of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coppice.errors import ModelNotSaved


def is_onnx_model(model: object) -> bool:
    """Whether the object is a `ModelProto` or names an `.onnx` file."""
    if isinstance(model, str | Path):
        return Path(model).suffix.lower() == ".onnx"
    kind = type(model)
    return kind.__name__ == "ModelProto" and kind.__module__.split(".", 1)[0] in ("onnx", "onnx_ml_pb2")


def save_live(model: Any, folder: Path) -> Path:
    """The model as one file in the folder, with the weights that it may have beside it."""
    import onnx

    try:
        loaded = onnx.load(str(model)) if isinstance(model, str | Path) else model
        path = folder / "model.onnx"
        onnx.save_model(loaded, path)
    except (OSError, ValueError) as e:  # the latter for what is larger than a protocol buffer can be
        raise ModelNotSaved(f"this model can't be read or saved: {e}", field="model") from e
    return path


def load_live(_model: Any, path: Path) -> Any:
    """The written file as a `ModelProto`."""
    import onnx

    return onnx.load(str(path))
