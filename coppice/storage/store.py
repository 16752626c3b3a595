"""The store of uploads and results: obstore on the data folder.

Here: streaming put with hash, limit and fsync; get; fetch; copy; delete. Not here: keys (`storage.keys`).

obstore makes an upload visible by renaming it when it is complete, and does not fsync: an accepted upload could vanish
at power loss. So `put` returns only once the file and every folder that leads to it are on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore

from coppice.errors import UploadTooLarge
from coppice.settings import MIB, Settings
from coppice.storage.keys import is_txid

#: Bytes of one download chunk: large enough that the hops between threads don't cost, small enough for many at once.
_CHUNK = 1 * MIB
#: Parts of one upload that may be in memory at once. The default of 12 holds 60 MiB for each slow disk write.
_CONCURRENT_PARTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that the store holds, whole and on disk."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A stored file on its way out."""

    size: int
    chunks: AsyncIterator[bytes]


class Storage:
    """Files by key, in `data_dir/store`."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "store"
        self._root.mkdir(parents=True, exist_ok=True)
        self._store = LocalStore(self._root)

    async def put(self, key: str, chunks: AsyncIterable[bytes], *, limit: int) -> StoredFile:
        """Store what `chunks` yields; raises UploadTooLarge past `limit` bytes, and whatever `chunks` raises.

        After a failure or a cancellation nothing is left, not even the folders that were made for it.
        """
        meter = _Meter(chunks, limit)
        try:
            await obstore.put_async(self._store, key, meter.read(), max_concurrency=_CONCURRENT_PARTS)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._clear, key))
            raise
        await asyncio.to_thread(self._sync, key)
        return StoredFile(key=key, size=meter.size, sha256=meter.hash.hexdigest())

    async def get(self, key: str) -> Download:
        """Open a stored file for reading; raises FileNotFoundError."""
        found = await obstore.get_async(self._store, key)
        return Download(size=found.meta["size"], chunks=found.stream(min_chunk_size=_CHUNK))

    async def fetch(self, key: str, path: Path) -> None:
        """Copy a stored file to `path`, whose folder exists; raises FileNotFoundError.

        A copy, not a link: what runs on it is not trusted, and a second attempt needs the bytes as they came.
        """
        await asyncio.to_thread(shutil.copyfile, self._path(key), path)

    async def copy(self, key: str, copy: str, *, sha256: str) -> StoredFile:
        """Store a stored file once more, under the key `copy`; raises FileNotFoundError. `sha256` is what it has."""
        path = self._path(copy)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(shutil.copyfile, self._path(key), path)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._clear, copy))
            raise
        await asyncio.to_thread(self._sync, copy)
        return StoredFile(key=copy, size=path.stat().st_size, sha256=sha256)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under `prefix`, as `storage.keys` names it; nothing there is fine.

        The folder itself goes, since obstore's listing hides the unfinished upload of a process that was killed.
        """
        try:
            await asyncio.to_thread(shutil.rmtree, self._path(prefix))
        except FileNotFoundError:
            return

    def transactions_with_uploads(self) -> frozenset[str]:
        """Transactions under which something was uploaded, accepted or not."""
        uploads = self._root / "uploads"
        return frozenset(entry.name for entry in uploads.glob("*") if is_txid(entry.name))

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()) or path == self._root:
            raise ValueError(f"{key!r} is not inside the store")
        return path

    def _sync(self, key: str) -> None:
        path = self._path(key)
        # The folders are as new as the file, so each needs its entry in its parent written, too.
        for entry in (path, *(parent for parent in path.parents if parent.is_relative_to(self._root))):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _clear(self, key: str) -> None:
        path = self._path(key)
        # obstore writes to NAME#1 until the upload is complete.
        for left in (path, *path.parent.glob(f"{path.name}#*")):
            left.unlink(missing_ok=True)
        top = self._root / path.relative_to(self._root).parts[0]
        for folder in path.parents:
            if folder == top:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty: another file of the same job
                return


class _Meter:
    """Counts and hashes what passes, and stops it at a limit."""

    def __init__(self, chunks: AsyncIterable[bytes], limit: int) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        self._chunks = chunks
        self._limit = limit

    async def read(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise UploadTooLarge(f"The upload is larger than {self._limit:,} bytes, the limit of this service.")
            self.hash.update(chunk)
            yield chunk
