"""What a file is, by its first bytes and, for archives, by the names in them; never by its own name.

Nothing is parsed here beyond that: the format's own module measures and reads.
"""

from __future__ import annotations

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
    TORCHSCRIPT = "a TorchScript archive"
    SAFETENSORS = "a safetensors file"
    PICKLE = "a Python pickle"
    DAMAGED_ZIP = "a damaged zip archive"
    ZIP = "a zip archive"
    UNKNOWN = "of an unknown kind"


#: First bytes -> kind. torch before 1.6 pickled a magic number in front of the object.
_HEADS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89HDF\r\n\x1a\n", Kind.HDF5),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", Kind.TORCH_LEGACY),
    (b"\x80", Kind.PICKLE),
)
_ZIP_HEAD = b"PK\x03\x04"

#: A member of the archive by its bare name -> kind; the first that is there decides.
_MEMBERS: tuple[tuple[str, Kind], ...] = (
    ("saved_model.pb", Kind.SAVED_MODEL),
    ("model.weights.h5", Kind.KERAS),
    ("constants.pkl", Kind.TORCHSCRIPT),
    ("data.pkl", Kind.TORCH),
)


def sniff(path: Path) -> Kind:
    """The kind of the file at `path`."""
    with path.open("rb") as file:
        head = file.read(32)
    if not head:
        return Kind.EMPTY
    if head.startswith(_ZIP_HEAD):
        return _sniff_zip(path)
    # A safetensors file opens with the length of a JSON header, then the header.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return Kind.SAFETENSORS
    return next((kind for start, kind in _HEADS if head.startswith(start)), Kind.UNKNOWN)


def _sniff_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {PurePosixPath(name).name for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return Kind.DAMAGED_ZIP
    return next((kind for name, kind in _MEMBERS if name in names), Kind.ZIP)
