"""What a store gives and takes, whichever it is: records, and the seam between `Storage` and its two places."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that the store holds, whole and on disk."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A stored file, or a range of it, on its way out; `size` is what comes."""

    size: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What is stored for one transaction, or by one of its attempts, and when something was written there last."""

    prefix: str
    txid: str
    written: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """How a file is called and what it is, for whoever downloads it.

    >>> Label(file="net.h5", media_type="application/x-hdf5").headers["Content-Disposition"]
    'attachment; filename="net.h5"'
    """

    file: str
    media_type: str

    @property
    def headers(self) -> dict[str, str]:
        """As HTTP says it, and as an object store keeps it."""
        # The type was chosen inside the sandbox, next to the user's code: it goes out only in the shape of one.
        kind = self.media_type if _MEDIA_TYPE.fullmatch(self.media_type) else "application/octet-stream"
        # A name of other letters is written as RFC 6266 says; a header takes no more than ASCII.
        name = f'filename="{self.file}"' if self.file.isascii() else f"filename*=UTF-8''{quote(self.file)}"
        return {"Content-Type": kind, "Content-Disposition": f"attachment; {name}"}


class Place(Protocol):
    """Where files are: a folder of this machine, or a bucket. Failures come out as the place's own."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        """Store what comes; when this returns, the file is whole and survives a power cut."""

    async def clear(self, key: str) -> None:
        """Remove what a failed `put` or `copy` left."""

    async def size(self, key: str) -> int:
        """The size of a file; raises FileNotFoundError."""

    async def get(self, key: str, start: int, end: int | None) -> Download:
        """Open a file, from `start` to before `end`; raises FileNotFoundError."""

    async def fetch(self, key: str, path: Path) -> None:
        """Copy a file to a path of this machine; raises FileNotFoundError."""

    async def copy(self, key: str, copy: str) -> int:
        """Store a file once more; returns its size. Raises FileNotFoundError."""

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under a prefix; nothing there is fine."""

    async def folders(self, top: str) -> list[Folder]:
        """Whatever is under `uploads`, by transaction, or under `results`, by attempt."""

    async def address(self, key: str) -> str | None:
        """An address that gives the file for a few minutes to whoever has it; None where there is no such thing."""
