"""The store of uploads and results: a folder of this machine, or a bucket that a fleet shares.

Here: what holds for both - hash and limit of what comes in, nothing left of what fails, failures in words. Not here:
keys (`storage.keys`), the folder (`storage.local`), the bucket (`storage.bucket`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

from coppice.errors import StorageUnavailable, UploadTooLarge
from coppice.settings import Settings
from coppice.storage.bucket import BucketPlace
from coppice.storage.files import Download, Folder, Label, Place, StoredFile
from coppice.storage.local import LocalPlace
from coppice.storage.trouble import told

_log = logging.getLogger(__name__)

#: What clearing up after a failure may take, seconds: a store that hangs must not hold its caller twice as long. What
#: is left then, the sweep takes.
_CLEAR_SECONDS = 5.0


class Storage:
    """Files by key. Every call raises StorageUnavailable while the store can't be read or written."""

    def __init__(self, settings: Settings) -> None:
        #: Whether other machines write there, too.
        self.shared = settings.storage_url is not None or settings.fleet
        self._redirects = settings.downloads == "redirect"
        with told():
            self._place: Place = (
                LocalPlace(settings.data_dir / "store")
                if settings.storage_url is None
                else BucketPlace(settings.storage_url)
            )

    async def put(
        self, key: str, chunks: AsyncIterable[bytes], *, limit: int, label: Label | None = None
    ) -> StoredFile:
        """Store what `chunks` yields; raises UploadTooLarge past `limit` bytes, and whatever `chunks` raises.

        After a failure or a cancellation nothing is left, not even the folders that were made for it. The label is kept
        where the store keeps such.
        """
        meter = _Meter(chunks, limit)
        try:
            with told(missing=False):
                await self._place.put(key, meter.read(), {} if label is None else label.headers)
        except BaseException as e:
            await asyncio.shield(self._clear(key))
            if isinstance(e, StorageUnavailable) and meter.failure is not None:
                raise meter.failure from None
            raise
        return StoredFile(key=key, size=meter.size, sha256=meter.hash.hexdigest())

    async def size(self, key: str) -> int:
        """The size of a stored file; raises FileNotFoundError."""
        with told():
            return await self._place.size(key)

    async def get(self, key: str, start: int = 0, end: int | None = None) -> Download:
        """Open a stored file for reading, from `start` to before `end`; raises FileNotFoundError."""
        with told():
            found = await self._place.get(key, start, end)
        return Download(size=found.size, chunks=_told(found.chunks))

    async def fetch(self, key: str, path: Path) -> None:
        """Copy a stored file to `path`, whose folder exists; raises FileNotFoundError.

        A copy, not a link: what runs on it is not trusted, and a second attempt needs the bytes as they came.
        """
        with told():
            await self._place.fetch(key, path)

    async def copy(self, key: str, copy: str, *, sha256: str) -> StoredFile:
        """Store a stored file once more, under the key `copy`; raises FileNotFoundError. `sha256` is what it has."""
        try:
            with told():
                size = await self._place.copy(key, copy)
        except BaseException:
            await asyncio.shield(self._clear(copy))
            raise
        return StoredFile(key=copy, size=size, sha256=sha256)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under `prefix`, as `storage.keys` names it; nothing there is fine."""
        with told():
            await self._place.delete_prefix(prefix)

    async def uploads(self) -> list[Folder]:
        """What was uploaded, accepted or not, by transaction."""
        with told():
            return await self._place.folders("uploads")

    async def results(self) -> list[Folder]:
        """What attempts have stored, published or not."""
        with told():
            return await self._place.folders("results")

    async def address(self, key: str) -> str | None:
        """Where a client gets the file by itself for a few minutes; None where downloads go through the service."""
        if not self._redirects:
            return None
        with told():
            return await self._place.address(key)

    async def _clear(self, key: str) -> None:
        try:
            with told():
                await asyncio.wait_for(self._place.clear(key), _CLEAR_SECONDS)
        except (StorageUnavailable, FileNotFoundError, TimeoutError):
            _log.warning("what failed under %s is left to the sweep", key.partition("/")[0])


class _Meter:
    """Counts and hashes what passes, and stops it at a limit."""

    def __init__(self, chunks: AsyncIterable[bytes], limit: int) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        #: What the chunks failed by, which is no failure of the store.
        self.failure: Exception | None = None
        self._chunks = chunks
        self._limit = limit

    async def read(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                self.size += len(chunk)
                self._check()
                self.hash.update(chunk)
                yield chunk
        except Exception as e:
            self.failure = e
            raise

    def _check(self) -> None:
        if self.size > self._limit:
            raise UploadTooLarge(f"The upload is larger than {self._limit:,} bytes, the limit of this service.")


async def _told(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with told():
        async for chunk in chunks:
            yield chunk
