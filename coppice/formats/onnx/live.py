"""Live ONNX models of a user's own process: a `ModelProto`, or the path of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coppice.errors import ExternalDataMissing, ModelNotSaved, TruncatedFile


def is_onnx_model(model: object) -> bool:
    """Whether the object is a `ModelProto` or names an `.onnx` file."""
    if isinstance(model, str | Path):
        return Path(model).suffix.lower() == ".onnx"
    kind = type(model)
    return kind.__name__ == "ModelProto" and kind.__module__.split(".", 1)[0] in ("onnx", "onnx_ml_pb2")


def save_live(model: Any, folder: Path) -> Path:
    """The model as one file in the folder, with the weights that it may have beside it."""
    import onnx
    from google.protobuf.message import DecodeError

    shown = Path(model).name if isinstance(model, str | Path) else "this model"
    try:
        loaded = onnx.load(str(model)) if isinstance(model, str | Path) else model
        path = folder / "model.onnx"
        onnx.save_model(loaded, path)
    except onnx.checker.ValidationError as e:  # so `onnx.load` calls it
        raise ExternalDataMissing(
            f"{shown} keeps weights in files that are not where it says. Put them there, or export the model in one "
            "file: torch.onnx.export(..., external_data=False).",
            field="model",
        ) from e
    except DecodeError as e:
        raise TruncatedFile(f"{shown} is a damaged or truncated ONNX file. Save it again.", field="model") from e
    except (OSError, ValueError) as e:  # the latter for what is larger than a protocol buffer can be
        why = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise ModelNotSaved(f"{shown} can't be read or saved: {why}.", field="model") from e
    return path


def load_live(_model: Any, path: Path) -> Any:
    """The written file as a `ModelProto`."""
    import onnx

    return onnx.load(str(path))
