"""The environment of TensorFlow and LiteRT: where its Python is. Neither is ever imported here."""

from __future__ import annotations

from pathlib import Path

from coppice.errors import NotInstalled
from coppice.settings import litert_environment


def litert_python() -> Path:
    """The Python that has TensorFlow and LiteRT; raises NotInstalled."""
    folder = litert_environment()
    if folder is None:
        raise NotInstalled(
            "format=tflite needs an environment with TensorFlow and LiteRT, and there is none here. Make one with "
            "`scripts/dialects litert` (the setting `litert` says where another one is), or ask for format=onnx.",
            field="format",
        )
    return folder / "bin" / "python"
