"""Files on their way, told of as progress: `upload` and `download` with their megabytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coppice.records.report import Progress, Tell
from coppice.records.request import Part

_MB = 1e6
#: Parts of a transfer after which it is told of again: a small part of a bar's width.
_TELLINGS = 200


class Meter:
    """Tells of a transfer, seldom enough to cost nothing."""

    def __init__(self, step: str, tell: Tell) -> None:
        self._step, self._tell, self._told = step, tell, -1

    def at(self, done: int, total: int, name: str) -> None:
        """Tell that so many bytes are through, where that is news."""
        share = min(done / total, 1.0) if total else 1.0
        if (part := int(share * _TELLINGS)) == self._told:
            return
        self._told = part
        detail = f"{name}, {done / _MB:,.1f} of {total / _MB:,.1f} MB"
        self._tell(Progress(step=self._step, fraction=share, detail=detail[-500:]))


class Upload:
    """The files of a call, read from the disk as they are sent; sent again, they are read again."""

    def __init__(self, files: Mapping[Part, Path], tell: Tell) -> None:
        self.total = sum(path.stat().st_size for path in files.values())
        self._meter = Meter("upload", tell)
        self._open = {part: _Sent(path, self) for part, path in files.items()}

    def parts(self, names: Mapping[Part, str]) -> list[tuple[str, tuple[str, io.FileIO]]]:
        """As a multipart body takes them."""
        return [(part.value, (names[part], file)) for part, file in self._open.items()]

    def moved(self, name: str) -> None:
        """Tell of bytes that were read."""
        self._meter.at(sum(file.sent for file in self._open.values()), self.total, name)

    def close(self) -> None:
        """Close the files."""
        _close(self._open.values())


class _Sent(io.FileIO):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, upload: Upload) -> None:
        super().__init__(path, "rb")
        self.sent, self._upload, self._file = 0, upload, path.name

    def read(self, size: int | None = -1, /) -> Any:
        """Some bytes more."""
        chunk = super().read(-1 if size is None else size)
        self.sent += len(chunk or b"")
        self._upload.moved(self._file)
        return chunk

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go elsewhere: to the beginning, where the file is sent again."""
        self.sent = super().seek(offset, whence)
        return self.sent


def _close(files: Iterable[io.FileIO]) -> None:
    for file in files:
        file.close()
