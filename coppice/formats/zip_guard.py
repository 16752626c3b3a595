"""The one home of zip rules: what an uploaded archive may hold, and how a copy of it is written.

Every name and every declared size is looked at before a byte is unpacked, and a member gives no more bytes than it
declared. Nothing is unpacked to disk by its name. What the members mean is for the formats that use this.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from coppice.errors import EmptyFile, HostileFile, TruncatedFile, UnknownFormat

#: A SavedModel has about ten files and a few more per asset or shard; each costs memory before it is looked at.
MAX_MEMBERS = 10_000
#: All members together, unpacked: as much as a job may use, so that more could not be pruned anyway.
MAX_UNPACKED_BYTES = 4 * 1024**3
#: Other methods unpack whole blocks at a time, whatever their size; TensorFlow, Keras and every zip tool write these.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1  # bit of a member's flags: APPNOTE.TXT 4.4.4
#: What macOS and Windows add to a zipped folder without being asked.
CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, OSError)


class Archive:
    """An archive whose directory has been looked at: its members by name, in order."""

    def __init__(self, name: str, opened: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> None:
        self.name = name
        self._opened = opened
        self._entries = entries
        self._members = {name: info for name, info in entries.items() if not name.endswith("/")}

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the archive; folders and clutter left out."""
        return tuple(self._members)

    def read(self, member: str) -> bytes:
        """The bytes of one member; raises TruncatedFile where they are damaged or not those that were declared."""
        if member not in self._members:
            raise TruncatedFile(f"{self.name}: it has no {member}. Zip the whole folder and send it again.")
        info = self._members[member]
        try:
            with self._opened.open(info) as file:
                # With the size: without one, a member that lies about it is inflated whole before it is cut off.
                content = file.read(info.file_size) if info.file_size else b""
        except _DAMAGED as e:
            raise TruncatedFile(f"{self.name}: {member} is damaged ({e}). Zip it and send it again.") from e
        if len(content) != info.file_size:
            raise TruncatedFile(f"{self.name}: {member} ends after {len(content):,} of {info.file_size:,} bytes.")
        return content

    def size(self, member: str) -> int:
        """How many bytes a member has, as the directory declares it."""
        return self._members[member].file_size

    @contextmanager
    def stream(self, member: str) -> Iterator[IO[bytes]]:
        """A member to be read in parts, for what is too large to be read whole; raises TruncatedFile."""
        try:
            with self._opened.open(self._members[member]) as file:
                yield file
        except _DAMAGED as e:
            raise TruncatedFile(f"{self.name}: {member} is damaged ({e}). Zip it and send it again.") from e

    def folder_of(self, member: str) -> str:
        """The folder, `""` or ending in `/`, that holds the only member of this name; raises UnknownFormat."""
        found = [name for name in self._members if PurePosixPath(name).name == member]
        if len(found) != 1:
            held = ", ".join(self.names[:8]) or "nothing"
            raise UnknownFormat(
                f"{self.name}: a zip with one {member} was expected, this one has {len(found)}. It holds: {held}."
            )
        return found[0].removesuffix(member)

    def rewrite(self, out: Path, *, replaced: Mapping[str, bytes], dropped: Set[str] = frozenset()) -> None:
        """Write a copy in the same order, with other bytes for some members and without others."""
        if strange := sorted(set(replaced) - set(self._members)):
            raise KeyError(f"not members of {self.name}: {strange}")
        with zipfile.ZipFile(out, "w") as copy:
            for name, info in self._entries.items():
                if name in dropped:
                    continue
                fresh = zipfile.ZipInfo(name, info.date_time)
                fresh.compress_type, fresh.external_attr = info.compress_type, info.external_attr
                content = b"" if name.endswith("/") else replaced[name] if name in replaced else self.read(name)
                copy.writestr(fresh, content)


@contextmanager
def open_zip(path: Path, *, name: str | None = None) -> Iterator[Archive]:
    """Open an archive after its directory has been found harmless.

    Raises EmptyFile, UnknownFormat (no zip), TruncatedFile (a damaged one) or HostileFile.
    """
    shown = name or path.name
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise EmptyFile(f"{shown} has no bytes.")
    if head[:2] != b"PK":
        raise UnknownFormat(f"{shown} is not a zip archive. First bytes: {head.hex()}.")
    try:
        opened = zipfile.ZipFile(path)
    except _DAMAGED as e:
        raise TruncatedFile(f"{shown}: the zip archive has no readable directory ({e}). Send it again.") from e
    with opened:
        yield Archive(shown, opened, _examined(shown, opened.infolist()))


def _examined(archive: str, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > MAX_MEMBERS:
        raise HostileFile(f"{archive}: {len(infos):,} members; the limit is {MAX_MEMBERS:,}.")
    declared = sum(info.file_size for info in infos)
    if declared > MAX_UNPACKED_BYTES:
        raise HostileFile(f"{archive}: {declared:,} bytes when unpacked; the limit is {MAX_UNPACKED_BYTES:,}.")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # `orig_filename` is what stands in the file: zipfile cuts `filename` at a NUL. Windows' own PowerShell writes
        # backslashes, which APPNOTE.TXT 4.4.17 forbids.
        name = info.orig_filename.replace("\\", "/")
        if reason := _objection(name, info):
            raise HostileFile(f"{archive}: member {info.filename[:200]!r} {reason}.")
        if name in entries:
            raise HostileFile(f"{archive}: two members are called {name[:200]!r}.")
        if not set(PurePosixPath(name).parts) & set(CLUTTER):
            entries[name] = info
    return entries


def _objection(name: str, info: zipfile.ZipInfo) -> str | None:
    """Why this member can't be part of a model, or None."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not name or any(ord(letter) < 32 for letter in name):
        return "has no printable name"
    if name.startswith("/") or ":" in name.split("/", 1)[0] or ".." in name.split("/"):
        return "has a path that is not plainly inside the archive"
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return "is a link or a device, not a file"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in METHODS:
        return f"is compressed by method {info.compress_type}; only deflate is taken"
    return None
