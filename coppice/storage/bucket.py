"""Files in a bucket of an S3, under a prefix. Credentials, endpoint and region are those of the AWS_... variables.

Nothing here relies on conditional writes: some servers ignore them and overwrite. No key is ever used twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import GenericError
from obstore.store import S3Store

from coppice.errors import ParameterInvalid
from coppice.settings import MIB
from coppice.storage.files import Download, Folder
from coppice.storage.keys import folder_of, is_txid

if TYPE_CHECKING:
    from obstore import GetOptions


_CHUNK = 1 * MIB
#: The smallest that S3 takes as a part of several. A file that fits into one is sent by one call instead of three.
_PART = 5 * MIB
_CONCURRENT_PARTS = 2
#: How long a signed address works: a client follows it at once.
_SIGNED = timedelta(minutes=5)
#: How obstore says that a server sent the whole file where a range was asked for.
_NOT_PARTIAL = "non-partial response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server may keep us waiting, seconds: the longest silence, and after what there is no further try."""

    connect: float = 5
    silence: float = 15
    again: float = 20
    #: A server copies a large file in silence.
    copying: float = 300


class BucketPlace:
    """One bucket and prefix, as `s3://bucket/prefix` names them; raises ParameterInvalid. It is not called on yet."""

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        if not url.startswith("s3://"):
            raise ParameterInvalid(
                "COPPICE_STORAGE_URL (--storage-url) is not of the form s3://bucket/prefix. Leave it out to keep "
                "files in the data folder.",
                field="storage_url",
            )
        patience = patience or Patience()
        self._store = _open(url, patience, patience.silence)
        self._copying = _open(url, patience, patience.copying)

    async def put(self, key: str, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        """Store what comes; a server shows it only when it is whole."""
        first = bytearray()
        async for chunk in chunks:
            first += chunk
            if len(first) >= _PART:
                await self._put(key, _chain(bytes(first), chunks), headers)
                return
        await self._put(key, bytes(first), headers)

    async def _put(self, key: str, content: bytes | AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        await obstore.put_async(
            self._store,
            key,
            content,
            attributes=dict(headers),
            chunk_size=_PART,
            max_concurrency=_CONCURRENT_PARTS,
        )

    async def clear(self, key: str) -> None:
        """Remove a file that came to be after all, as when the server's answer was lost."""
        await obstore.delete_async(self._store, key)

    async def size(self, key: str) -> int:
        """The size of a file; raises FileNotFoundError."""
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            # Without a body the answer doesn't tell a file that isn't there from a bucket that isn't.
            return (await self.get(key, 0, None)).size

    async def get(self, key: str, start: int, end: int | None) -> Download:
        """Open a file; raises FileNotFoundError."""
        if start == 0 and end is None:
            found = await obstore.get_async(self._store, key)
            return Download(size=found.meta["size"], chunks=_bytes(found.stream(min_chunk_size=_CHUNK)))
        try:
            options: GetOptions = {"range": {"offset": start} if end is None else (start, end)}
            found = await obstore.get_async(self._store, key, options=options)
        except GenericError as e:
            if _NOT_PARTIAL not in str(e):
                raise
            return await self._part_of_whole(key, start, end)
        first, last = found.range
        return Download(size=last - first, chunks=_bytes(found.stream(min_chunk_size=_CHUNK)))

    async def _part_of_whole(self, key: str, start: int, end: int | None) -> Download:
        """A range from a server that does not know ranges, or answers them with a wrong number as rclone does."""
        whole = await self.get(key, 0, None)
        end = whole.size if end is None else min(end, whole.size)
        return Download(size=end - start, chunks=_between(whole.chunks, start, end))

    async def fetch(self, key: str, path: Path) -> None:
        """Copy a file to a path of this machine; raises FileNotFoundError."""
        found = await self.get(key, 0, None)
        with await asyncio.to_thread(path.open, "wb") as file:
            async for chunk in found.chunks:
                await asyncio.to_thread(file.write, chunk)

    async def copy(self, key: str, copy: str) -> int:
        """Have the server store a file once more; raises FileNotFoundError."""
        await obstore.copy_async(self._copying, key, copy)
        return await self.size(copy)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under a prefix."""
        async for batch in obstore.list(self._store, prefix):
            await obstore.delete_async(self._store, [found["path"] for found in batch])

    async def folders(self, top: str) -> list[Folder]:
        """What is there; unfinished uploads are not, since no listing shows them."""
        written: dict[str, Folder] = {}
        async for batch in obstore.list(self._store, top):
            for found in batch:
                prefix, txid = folder_of(found["path"])
                if is_txid(txid) and (prefix not in written or written[prefix].written < found["last_modified"]):
                    written[prefix] = Folder(prefix=prefix, txid=txid, written=found["last_modified"])
        return list(written.values())

    async def address(self, key: str) -> str | None:
        """A signed address, which needs nothing else; its name and type are those that the file was put with."""
        return await obstore.sign_async(self._store, "GET", key, _SIGNED)


def _open(url: str, patience: Patience, silence: float) -> S3Store:
    return S3Store.from_url(
        url,
        client_options={
            # Plain http is used only where the endpoint's own address says so.
            "allow_http": True,
            "connect_timeout": timedelta(seconds=patience.connect),
            "read_timeout": timedelta(seconds=silence),
            # Of a whole call, and so of the slowest client's download: what ends a call is silence.
            "timeout": timedelta(days=1),
        },
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=patience.again)},
    )


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _bytes(chunks: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield bytes(chunk)


async def _between(chunks: AsyncIterator[bytes], start: int, end: int) -> AsyncIterator[bytes]:
    place = 0
    async for chunk in chunks:
        wanted = chunk[max(start - place, 0) : end - place]
        place += len(chunk)
        if wanted:
            yield wanted
        if place >= end:
            return
