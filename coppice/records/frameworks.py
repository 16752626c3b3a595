"""The frameworks whose models Coppice takes."""

from __future__ import annotations

from enum import StrEnum


class Framework(StrEnum):
    """The family of calls that a request belongs to; the values are those of the documents."""

    PYTORCH = "pt"
    KERAS = "tf"
    ONNX = "onnx"
