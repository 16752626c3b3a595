"""What a file is, by its first bytes and, for archives, by the names in them; never by its own name.

Nothing is parsed here beyond that: the format's own module measures and reads.
"""

from __future__ import annotations

import re
import zipfile
from enum import StrEnum
from pathlib import Path, PurePosixPath


class Kind(StrEnum):
    """The kinds of file that people send; the value is what a message calls it."""

    EMPTY = "an empty file"
    HDF5 = "an HDF5 file (.h5)"
    KERAS = "a Keras archive (.keras)"
    SAVED_MODEL = "a zip of a SavedModel folder"
    TORCH = "a PyTorch file"
    TORCH_LEGACY = "a PyTorch file of before version 1.6"
    TORCH_TAR = "a PyTorch file of before version 0.1.10 (a tar archive)"
    TORCHSCRIPT = "a TorchScript archive"
    EXPORTED = "a program of torch.export (.pt2)"
    PACKAGE = "an archive of torch.package"
    SAFETENSORS = "a safetensors file"
    SHARD_INDEX = "an index of shards, which holds no tensors"
    ONNX = "an ONNX model"
    ONNX_ZIP = "a zip of an ONNX model"
    NPZ = "an archive of NumPy arrays (.npz)"
    NPY = "a NumPy array (.npy)"
    PICKLE = "a Python pickle"
    TAR = "a tar archive"
    GZIP = "a gzip file (.gz, .tar.gz, .tgz)"
    DAMAGED_ZIP = "a damaged zip archive"
    ZIP = "a zip archive"
    UNKNOWN = "of an unknown kind"


#: First bytes -> kind. torch before 1.6 pickled a magic number in front of the object.
_HEADS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89HDF\r\n\x1a\n", Kind.HDF5),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", Kind.TORCH_LEGACY),
    (b"\x80", Kind.PICKLE),
    (b"\x93NUMPY", Kind.NPY),
    (b"\x1f\x8b", Kind.GZIP),
)
#: An ONNX file is a protocol buffer, which has no magic number: field 1, the IR version, then another of its fields
#: (producer, version, domain, description, graph, operator sets, metadata).
_ONNX_HEAD = re.compile(rb"\x08[\x01-\x3f](?:[\x12\x1a\x22\x32\x3a\x42\x72]|\x28[\x00-\xff])", re.DOTALL)
_ZIP_HEAD = b"PK\x03\x04"
#: A tar archive says so in its first header, at this place.
_TAR, _TAR_AT = b"ustar", 257
_TAR_NAME = 100  # bytes, at the start of the header
#: What the index of a model in several files opens with: a little metadata, then which tensor is where.
_SHARD_INDEX = re.compile(rb'\s*\{\s*"(?:metadata|weight_map)"\s*:')
_HEAD_BYTES = 512

#: A member of the archive by its bare name -> kind; the first that is there decides.
_MEMBERS: tuple[tuple[str, Kind], ...] = (
    ("saved_model.pb", Kind.SAVED_MODEL),
    ("model.weights.h5", Kind.KERAS),
    ("archive_format", Kind.EXPORTED),
    ("serialized_exported_program.json", Kind.EXPORTED),  # as torch.export wrote it before 2.7
    ("constants.pkl", Kind.TORCHSCRIPT),
    ("extern_modules", Kind.PACKAGE),
    ("data.pkl", Kind.TORCH),
)


def sniff(path: Path) -> Kind:
    """The kind of the file at `path`."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return Kind.EMPTY
    if head.startswith(_ZIP_HEAD):
        return _sniff_zip(path)
    # A safetensors file opens with the length of a JSON header, then the header.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return Kind.SAFETENSORS
    if head[_TAR_AT:].startswith(_TAR):
        # torch's had no folders: its members were called pickle, tensors, storages and sys_info.
        return Kind.TAR if b"/" in head[:_TAR_NAME] else Kind.TORCH_TAR
    if _SHARD_INDEX.match(head):
        return Kind.SHARD_INDEX
    if (kind := next((kind for start, kind in _HEADS if head.startswith(start)), None)) is not None:
        return kind
    return Kind.ONNX if _ONNX_HEAD.match(head) else Kind.UNKNOWN


def _sniff_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            # Windows' own PowerShell writes backslashes.
            names = {PurePosixPath(name.replace("\\", "/")).name for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return Kind.DAMAGED_ZIP
    found = next((kind for name, kind in _MEMBERS if name in names), None)
    if found is not None:
        return found
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    return Kind.ONNX_ZIP if ".onnx" in suffixes else Kind.NPZ if suffixes == {".npy"} else Kind.ZIP
