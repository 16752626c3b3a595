"""The formats, one module each, and the table that says which module answers for an upload.

A new format is one module with a function `(request, files) -> Source` and one line in `OPENERS`. The modules are
imported when they are needed: h5py and the protobufs load only for the files that want them.

A format of another package is such a function, too, named by an entry point that is called as its files end:

    [project.entry-points."coppice.formats"]
    mlp = "my_package:open_mlp"

Its files go where ONNX models go, which are one file each: `onnx_prune`, the part `model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path, PurePath
from typing import cast

from coppice.errors import EmptyFile, NotInstalled, ParameterMissing, TruncatedFile, UnknownFormat
from coppice.formats.sniff import Kind, sniff
from coppice.formats.source import Source
from coppice.records.advice import SHARDS
from coppice.records.frameworks import Framework
from coppice.records.plugins import formats, load
from coppice.records.request import Part, Request

Files = Mapping[Part, Path]
Opener = Callable[[Request, Files], Source]

#: The part that carries the model, per framework: its kind chooses the opener.
MODEL_PART = {Framework.PYTORCH: Part.WEIGHTS, Framework.KERAS: Part.MODEL, Framework.ONNX: Part.MODEL}

#: Artifacts of the same kind as that part, per framework: the first that there is.
AS_IT_CAME = {
    Framework.PYTORCH: ("weights", "state_dict", "model"),
    Framework.KERAS: ("model",),
    Framework.ONNX: ("model",),
}

#: (framework of the call, kind of the file) -> "module:function".
OPENERS: dict[tuple[Framework, Kind], str] = {
    (Framework.PYTORCH, Kind.TORCH): "coppice.formats.pytorch.source:open_torch",
    (Framework.PYTORCH, Kind.TORCH_LEGACY): "coppice.formats.pytorch.source:open_torch",
    (Framework.PYTORCH, Kind.SAFETENSORS): "coppice.formats.pytorch.source:open_torch",
    (Framework.KERAS, Kind.HDF5): "coppice.formats.keras.source:open_keras",
    (Framework.KERAS, Kind.KERAS): "coppice.formats.keras.source:open_keras",
    (Framework.KERAS, Kind.SAVED_MODEL): "coppice.formats.keras.source:open_keras",
    (Framework.ONNX, Kind.ONNX): "coppice.formats.onnx.source:open_onnx",
    (Framework.ONNX, Kind.ONNX_ZIP): "coppice.formats.onnx.source:open_onnx",
}

#: What a framework's call takes, for the message that refuses the rest.
_TAKES = {
    Framework.PYTORCH: "a state dict written by torch.save(model.state_dict(), FILE)",
    Framework.KERAS: "a model saved by Keras: .h5, .keras, or the zip of a SavedModel folder",
    Framework.ONNX: "an .onnx file, or a zip of one with its external data",
}


def _by(load: str, state: str) -> str:
    lines = ("import torch", load, f'torch.save({state}, "{{stem}}_state.pth")')
    return "Send its state dict. Run where it is:" + "".join(f"\n  {line}" for line in lines)


_UNPACKED = "Unpack it and send the file that is inside; a SavedModel folder as a zip: zip -r model.zip FOLDER."

#: What to send instead of a file that is understood and of no use here; `{file}` and `{stem}` are its own names.
_INSTEAD = {
    Kind.TORCHSCRIPT: _by('model = torch.jit.load("{file}", map_location="cpu")', "model.state_dict()"),
    Kind.EXPORTED: _by('program = torch.export.load("{file}")', "dict(program.state_dict)"),
    Kind.PACKAGE: "Load the model from it by torch.package.PackageImporter and save its state dict: "
    'torch.save(model.state_dict(), "{stem}_state.pth").',
    Kind.TORCH_TAR: _by('state = torch.load("{file}", map_location="cpu", weights_only=False)', "state"),
    Kind.SHARD_INDEX: SHARDS,
    Kind.TAR: _UNPACKED,
    Kind.GZIP: _UNPACKED,
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


def recognised(request: Request, files: Files) -> Request:
    """The request with the framework that the model's file is of, where its name allows several: a zip is any's."""
    path = files.get(MODEL_PART[request.framework])
    kind = sniff(path) if path is not None else Kind.UNKNOWN
    if (request.framework, kind) in OPENERS:
        return request
    others = [one for one, known in OPENERS if known is kind and MODEL_PART[one] in files]
    return request.model_copy(update={"framework": others[0]}) if others else request


def _opener(request: Request, part: Part, path: Path) -> Opener:
    plugin = formats().get(PurePath(_shown(request, part, path)).suffix.lower())
    if plugin is not None and request.framework is Framework.ONNX:
        return cast(Opener, load(plugin, part))
    kind = sniff(path)
    entry = OPENERS.get((request.framework, kind))
    if entry is not None:
        module, function = entry.split(":")
        try:
            return cast(Opener, getattr(import_module(module), function))
        except ModuleNotFoundError as e:
            raise NotInstalled(f"{kind} needs the package {e.name}, which isn't installed here.") from e
    shown, takes = _shown(request, part, path), _TAKES[request.framework]
    if kind is Kind.DAMAGED_ZIP:
        raise TruncatedFile(f"{shown} is a damaged or truncated zip archive. Save it and send it again.", field=part)
    if kind in _INSTEAD:
        instead = _INSTEAD[kind].replace("{file}", shown).replace("{stem}", PurePath(shown).stem)
        raise UnknownFormat(f"{shown} is {kind}. This call takes {takes}. {instead}", field=part)
    other = next((framework for framework, known in OPENERS if known is kind), None)
    hint = f" It belongs to the {other} calls ({other}_prune)." if other else f" First bytes: {_head(path)}."
    raise UnknownFormat(f"{shown} is {kind}. This call takes {takes}.{hint}", field=part)


def _shown(request: Request, part: Part, path: Path) -> str:
    return request.files.get(part, path.name)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(8).hex(" ")
