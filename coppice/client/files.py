"""Paths and bytes as files to send: a folder as its zip, and bytes under the suffix that their first ones tell."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

from coppice.errors import ParameterMissing, UnknownFormat
from coppice.records.frameworks import Framework
from coppice.records.request import Part

#: What stands first in a file -> the suffix by which it is known.
_HEADS = ((b"\x89HDF\r\n\x1a\n", ".h5"), (b"\x93NUMPY", ".npy"))
_ZIP = b"PK\x03\x04"
#: Of a part's bytes that say nothing by themselves.
_SUFFIXES = {
    (Framework.PYTORCH, Part.WEIGHTS): ".pt",
    (Framework.KERAS, Part.MODEL): ".h5",
    (Framework.ONNX, Part.MODEL): ".onnx",
}


def zipped(folder: Path, into: Path) -> Path:
    """A SavedModel's folder as the zip that a service takes."""
    if not (folder / "saved_model.pb").is_file():
        raise UnknownFormat(f"{folder}: a folder without saved_model.pb is no SavedModel.", field="file")
    archive = into / f"{folder.resolve().name}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder.parent))
    return archive


def file_of(given: Any, part: Part, framework: Framework, folder: Path) -> Path | None:
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
