"""An ONNX file from a stranger: measured before it is parsed, and looked through before anything is made of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from coppice.errors import (
    ExternalDataMissing,
    HostileFile,
    ModelInvalid,
    TruncatedFile,
    UnsupportedLayer,
    UploadTooLarge,
    VersionUnsupported,
)
from coppice.formats.onnx.bodies import bodies, nodes_within
from coppice.formats.onnx.folding import folded
from coppice.formats.onnx.functions import inlined
from coppice.formats.onnx.order import put_in_order
from coppice.formats.sniff import Kind, sniff
from coppice.formats.zip_guard import Archive, open_zip

#: What a protocol buffer can hold, and so the largest file that can be written again.
MAX_BYTES = 2**31 - 1
#: Beyond any model; each costs memory several times.
MAX_NODES = 100_000
#: Files of before this operator set mean other things by the same names.
OLDEST_OPSET = 7
STANDARD = ("", "ai.onnx")
#: The domain of ONNX Runtime's own operators, and the version from which on the standard has some of them, if ever.
_RUNTIME = "com.microsoft"
_STANDARD_SINCE = {"LayerNormalization": 17, "SimplifiedLayerNormalization": sys.maxsize}

#: Bits of one value, by ONNX's number of a type; text has no fixed size.
_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BFLOAT16: 16,
}


def read(path: Path, name: str) -> onnx.ModelProto:
    """The model of a file, or of a zip of a file and its external data, found harmless; raises what says why not."""
    if sniff(path) is Kind.ONNX_ZIP:
        with open_zip(path, name=name) as archive:
            return _from_zip(archive, name)
    if path.stat().st_size > MAX_BYTES:
        raise UploadTooLarge(f"{name} has {path.stat().st_size:,} bytes; an ONNX file can have {MAX_BYTES:,}.")
    model = _parsed(path.read_bytes(), name)
    outside = [tensor for tensor in _tensors(model.graph) if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        places = sorted({_location(tensor) for tensor in outside})
        raise ExternalDataMissing(
            f"{name}: the weights are in {', '.join(places[:4])}, which wasn't sent. Send a zip of both files, or "
            "export with torch.onnx.export(..., external_data=False)."
        )
    return examined(model, name)


def examined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with its own functions written out; raises where it is not what it should be."""
    _check_versions(model, name)
    model = inlined(model, name, limit=MAX_NODES)
    count = sum(1 for _ in nodes_within(model.graph))
    if count > MAX_NODES:
        raise HostileFile(f"{name}: {count:,} nodes; the limit is {MAX_NODES:,}.")
    if model.graph.sparse_initializer:
        raise UnsupportedLayer(f"{name}: it has sparse initializers, which Coppice doesn't edit. Store them dense.")
    for tensor in _tensors(model.graph):
        _check_tensor(tensor, name)
    put_in_order(model)
    try:
        onnx.checker.check_model(_standard(model))
    except (onnx.checker.ValidationError, ValueError, TypeError) as e:  # the latter two of what it can't serialise
        raise ModelInvalid(f"{name} is no valid ONNX model: {_first_line(e)}") from e
    return folded(model)


def _standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker knows it: ONNX Runtime's optimizer writes some of its operators as the standard's."""
    if not any(_is_runtimes(node, opset(model)) for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if _is_runtimes(node, opset(model)):
            node.domain = _RUNTIME
    if not any(entry.domain == _RUNTIME for entry in copy.opset_import):
        copy.opset_import.append(onnx.helper.make_opsetid(_RUNTIME, 1))
    return copy


def _is_runtimes(node: onnx.NodeProto, version: int) -> bool:
    return node.domain in STANDARD and version < _STANDARD_SINCE.get(node.op_type, 0)


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the model is written in."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)


def _parsed(content: bytes, name: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, RuntimeError, ValueError) as e:
        raise TruncatedFile(f"{name} is a damaged or truncated ONNX file. Save it and send it again.") from e
    if not model.graph.output:
        raise TruncatedFile(f"{name} is a damaged ONNX file: its graph has no outputs.")
    return model


def _from_zip(archive: Archive, name: str) -> onnx.ModelProto:
    models = [member for member in archive.names if member.lower().endswith(".onnx")]
    if len(models) != 1:
        raise ModelInvalid(f"{name}: a zip with one .onnx was expected, this one has {len(models)}.")
    model = _parsed(archive.read(models[0]), name)
    folder = models[0].rpartition("/")[0]
    members: dict[str, bytes] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            _take_in(tensor, archive, folder, members, name)
    if model.ByteSize() > MAX_BYTES:
        raise UploadTooLarge(f"{name}: {model.ByteSize():,} bytes with its weights; Coppice edits up to {MAX_BYTES:,}.")
    return examined(model, name)


def _take_in(tensor: TensorProto, archive: Archive, folder: str, members: dict[str, bytes], name: str) -> None:
    """Put the bytes that the zip has for a tensor into the model; nothing but the zip is ever looked at."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = PurePosixPath(told.get("location", ""))
    if location.is_absolute() or ".." in location.parts or "\\" in str(location):
        raise HostileFile(f"{name}: the weights of {tensor.name[:100]!r} are at {str(location)[:100]!r}, outside.")
    member = str(PurePosixPath(folder) / location)
    if member not in archive.names:
        raise TruncatedFile(f"{name}: the zip has no {member[:200]}, where the weights of {tensor.name[:100]!r} are.")
    if member not in members:
        members[member] = archive.read(member)
    try:
        offset, length = int(told.get("offset", 0)), int(told.get("length", _bytes(tensor)))
    except ValueError as e:
        raise HostileFile(f"{name}: the place of {tensor.name[:100]!r} is no number.") from e
    if not (offset >= 0 and length >= 0 and offset + length <= len(members[member])):
        raise TruncatedFile(f"{name}: {member} ends before the weights of {tensor.name[:100]!r}.")
    tensor.raw_data = members[member][offset : offset + length]
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    if model.ir_version > onnx.IR_VERSION or opset(model) > newest:
        raise VersionUnsupported(
            f"{name} is of opset {opset(model)} and IR version {model.ir_version}; the onnx {onnx.__version__} of this "
            f"service knows opset {newest} and IR version {onnx.IR_VERSION}. Export with opset_version={newest}."
        )
    if opset(model) < OLDEST_OPSET:
        raise VersionUnsupported(
            f"{name} is of opset {opset(model)}, of before {OLDEST_OPSET}. Convert it: "
            "onnx.version_converter.convert_version(model, 13)."
        )


def _check_tensor(tensor: TensorProto, name: str) -> None:
    shown = f"{name}: the tensor {tensor.name[:100]!r}"
    if tensor.data_location == TensorProto.EXTERNAL:
        raise HostileFile(f"{shown} has its values in another file, where none may be.")
    if tensor.data_type not in _BITS:
        kind = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in TensorProto.DataType.values() else "?"
        raise UnsupportedLayer(f"{shown} is of the type {kind}, which Coppice can't compute.")
    if any(size < 0 for size in tensor.dims):
        raise HostileFile(f"{shown} has a negative size.")
    count = math.prod(tensor.dims)
    held = len(tensor.raw_data) * 8 // _BITS[tensor.data_type] if tensor.HasField("raw_data") else _listed(tensor)
    if held != count:
        raise HostileFile(f"{shown} declares {count:,} values and holds {held:,}.")


def _listed(tensor: TensorProto) -> int:
    """How many values stand in the list of the tensor's type; protobuf knows one list for several types."""
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    return max(len(one) for one in lists)


def _bytes(tensor: TensorProto) -> int:
    return math.prod(int(size) for size in tensor.dims) * _BITS.get(tensor.data_type, 8) // 8


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for body in bodies(node):
            yield from _tensors(body)


def _location(tensor: TensorProto) -> str:
    return next((entry.value[:100] for entry in tensor.external_data if entry.key == "location"), "another file")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
