"""The formats, one module each, and the table that says which module answers for an upload.

A new format is one module with a function `(request, files) -> Source` and one line in `OPENERS`. The modules are
imported when they are needed: h5py and the protobufs load only for the files that want them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from coppice.errors import EmptyFile, ParameterMissing, TruncatedFile, UnknownFormat
from coppice.formats.sniff import Kind, sniff
from coppice.formats.source import Source
from coppice.records.request import Framework, Part, Request

Files = Mapping[Part, Path]
Opener = Callable[[Request, Files], Source]

#: The part that carries the model, per framework: its kind chooses the opener.
MODEL_PART = {Framework.PYTORCH: Part.WEIGHTS, Framework.KERAS: Part.MODEL}

#: (framework of the call, kind of the file) -> "module:function".
OPENERS: dict[tuple[Framework, Kind], str] = {
    (Framework.PYTORCH, Kind.TORCH): "coppice.formats.pytorch.source:open_torch",
    (Framework.PYTORCH, Kind.TORCH_LEGACY): "coppice.formats.pytorch.source:open_torch",
    (Framework.PYTORCH, Kind.SAFETENSORS): "coppice.formats.pytorch.source:open_torch",
    (Framework.KERAS, Kind.HDF5): "coppice.formats.keras.source:open_keras",
    (Framework.KERAS, Kind.KERAS): "coppice.formats.keras.source:open_keras",
    (Framework.KERAS, Kind.SAVED_MODEL): "coppice.formats.keras.source:open_keras",
}

#: What a framework's call takes, for the message that refuses the rest.
_TAKES = {
    Framework.PYTORCH: "a state dict written by torch.save(model.state_dict(), FILE)",
    Framework.KERAS: "a model saved by Keras: .h5, .keras, or the zip of a SavedModel folder",
}


def open_upload(request: Request, files: Files) -> Source:
    """Read the uploaded files; raises a BadUpload or a UserCodeError that names the part at fault."""
    for part, path in files.items():
        if sniff(path) is Kind.EMPTY:
            raise EmptyFile(f"{_shown(request, part, path)} is empty (0 bytes). Send the file again.", field=part)
    part = MODEL_PART[request.framework]
    if part not in files:
        raise ParameterMissing(f"The part {part} is missing: {_TAKES[request.framework]}.", field=part)
    return _opener(request, part, files[part])(request, files)


def _opener(request: Request, part: Part, path: Path) -> Opener:
    kind = sniff(path)
    entry = OPENERS.get((request.framework, kind))
    if entry is not None:
        module, function = entry.split(":")
        return cast(Opener, getattr(import_module(module), function))
    shown, takes = _shown(request, part, path), _TAKES[request.framework]
    if kind is Kind.DAMAGED_ZIP:
        raise TruncatedFile(f"{shown} is a damaged or truncated zip archive. Save it and send it again.", field=part)
    other = next((framework for framework, known in OPENERS if known is kind), None)
    hint = f" It belongs to the {other} calls ({other}_prune)." if other else f" First bytes: {_head(path)}."
    raise UnknownFormat(f"{shown} is {kind}. This call takes {takes}.{hint}", field=part)


def _shown(request: Request, part: Part, path: Path) -> str:
    return request.files.get(part, path.name)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(8).hex(" ")
