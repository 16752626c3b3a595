"""Files in a folder of this machine.

obstore makes an upload visible by renaming it when it is complete, and does not fsync: an accepted upload could vanish
at power loss. So `put` returns only once the file and every folder that leads to it are on disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import obstore
from obstore.store import LocalStore

from coppice.settings import MIB
from coppice.storage.files import Download, Folder
from coppice.storage.keys import is_txid

#: Bytes of one download chunk: large enough that the hops between threads don't cost, small enough for many at once.
_CHUNK = 1 * MIB
#: Parts of one upload that may be in memory at once. The default of 12 holds 60 MiB for each slow disk write.
_CONCURRENT_PARTS = 2


class LocalPlace:
    """A folder, made if it is not there."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._store = LocalStore(root)

    async def put(self, key: str, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        """Store what comes, file and folders synced. A folder keeps no headers."""
        del headers
        await obstore.put_async(self._store, key, chunks, max_concurrency=_CONCURRENT_PARTS)
        await asyncio.to_thread(self._sync, key)

    async def clear(self, key: str) -> None:
        """Remove what a failed call left, and the folders that were made for it."""
        await asyncio.to_thread(self._clear, key)

    async def size(self, key: str) -> int:
        """The size of a file; raises FileNotFoundError."""
        return (await asyncio.to_thread(os.stat, self._path(key))).st_size

    async def get(self, key: str, start: int, end: int | None) -> Download:
        """Open a file; raises FileNotFoundError."""
        size = await self.size(key)
        end = size if end is None else min(end, size)
        return Download(size=end - start, chunks=self._chunks(key, start, end))

    async def _chunks(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        # Opened anew for each chunk: a client that stops reading must not keep a deleted file's room on the disk.
        for place in range(start, end, _CHUNK):
            yield bytes(await obstore.get_range_async(self._store, key, start=place, end=min(place + _CHUNK, end)))

    async def fetch(self, key: str, path: Path) -> None:
        """Copy a file to a path of this machine; raises FileNotFoundError."""
        await asyncio.to_thread(shutil.copyfile, self._path(key), path)

    async def copy(self, key: str, copy: str) -> int:
        """Store a file once more, synced as one that was put; raises FileNotFoundError."""
        path = self._path(copy)
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(shutil.copyfile, self._path(key), path)
        await asyncio.to_thread(self._sync, copy)
        return await self.size(copy)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under a prefix.

        The folder itself goes, since obstore's listing hides the unfinished upload of a process that was killed.
        """
        try:
            await asyncio.to_thread(shutil.rmtree, self._path(prefix))
        except FileNotFoundError:  # nothing there, or another sweep was faster
            return

    async def folders(self, top: str) -> list[Folder]:
        """What is there, unfinished uploads and empty folders, too."""
        return await asyncio.to_thread(lambda: list(_folders(self._root / top)))

    async def address(self, key: str) -> str | None:
        """A folder has none."""
        del key
        return None

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
            except FileNotFoundError:  # the disk was full before it was made
                continue
            except OSError:  # not empty: another file of the same job
                return


def _folders(top: Path) -> Iterator[Folder]:
    for job in _entries(top):
        if is_txid(job.name):
            attempts = [entry for entry in _entries(job) if entry.is_dir()] if top.name == "results" else []
            for place in attempts or [job]:
                prefix = place.relative_to(top.parent).as_posix()
                yield Folder(prefix=prefix, txid=job.name, written=_written(place))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # deleted meanwhile
        return []


def _written(folder: Path) -> datetime:
    latest = 0.0
    for place, _folders_in_it, names in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in names)):
            try:
                latest = max(latest, path.stat().st_mtime)
            except FileNotFoundError:  # deleted meanwhile, or renamed because it is whole now: a sign of life
                latest = max(latest, datetime.now(UTC).timestamp())
    return datetime.fromtimestamp(latest, UTC)
