"""From the body of a call to stored files and a `Request`. Nothing stays behind unless the job is accepted.

Not here: the multipart format (`http.multipart`), names and values (`http.reading`), the store (`storage`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from starlette.requests import Request as HttpRequest

from coppice.errors import BodyInvalid, EmptyFile, ParameterInvalid, UploadStalled
from coppice.http import idempotency
from coppice.http.earlier import Earlier, copied, earlier
from coppice.http.intake import Intake
from coppice.http.multipart import Multipart, PartHead, boundary_of, check_size, watched
from coppice.http.parameters import parameter_names
from coppice.http.parts import PART_NAMES, UploadPart, file_name, find_part, part_names
from coppice.http.reading import read_parameters, to_request, to_terms
from coppice.jobs.desk import Desk
from coppice.records.quantization import Precision
from coppice.settings import Settings
from coppice.storage import Storage, StoredFile, job_prefixes, upload_key

#: Room for the longest list of layer names that a model could have.
_MAX_FIELD_BYTES = 256 * 1024
#: Several times the parts of any call.
_MAX_PARTS = 64
#: What of a body's length may be no file: left out where the length is held against what a client may have stored.
_OVERHEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that a call sent, or, `replayed`, the one that the same call sent before."""

    txid: str
    replayed: bool


class Uploads:
    """The way in: one `accept` for each call that sends a model."""

    def __init__(self, settings: Settings, desk: Desk, storage: Storage) -> None:
        self._settings = settings
        self._desk = desk
        self._storage = storage
        self._limit = settings.max_upload_bytes
        self._stall_seconds = settings.upload_stall_seconds

    async def accept(self, http: HttpRequest, intake: Intake, client: str) -> Accepted:
        """Store the files and submit the job; raises with nothing left of it.

        What the query says is checked before the body is read, so that a wrong percentage costs nobody an upload.
        """
        query, key = tuple(http.query_params.multi_items()), idempotency.key_of(http)
        values = read_parameters(intake, query)
        await asyncio.to_thread(to_terms, values, self._settings)
        found = await self._earlier(intake, values, client)
        content_type, length = http.headers.get("content-type"), http.headers.get("content-length", "0")
        empty = content_type is None and length == "0"
        if empty and found is None:
            to_request(intake, values, {})  # raises: it names what is missing
        boundary = None if empty else boundary_of(content_type)
        check_size(int(length), self._limit)
        if key is None:  # with one, the job may have been sent before
            announced = max(0, int(length) - _OVERHEAD_BYTES)
            await asyncio.to_thread(self._desk.refuse_over_quota, client, announced)
        txid = str(uuid4())
        parts = _Parts(intake, txid, self._storage, self._limit)
        async with _no_longer_than(self._settings.uploads_seconds / 2), AsyncExitStack() as undo:
            undo.push_async_callback(self._forget, txid)
            if boundary is not None:
                chunks = watched(aiter(http.stream()), limit=self._limit, stall_seconds=self._stall_seconds)
                await parts.take(Multipart(chunks, boundary))
            values = read_parameters(intake, (*query, *parts.fields))
            found = await self._earlier(intake, values, client)
            if found is not None:
                values = {**found.values, **values}
                parts.add(found.names)
            request = to_request(intake, values, parts.names)
            terms = await asyncio.to_thread(to_terms, values, self._settings)
            if found is not None:
                parts.stored += await copied(found, txid, self._storage)
            undo.pop_all()
        submit = partial(
            self._desk.submit,
            txid=txid,
            client=client,
            request=request,
            uploads=tuple(parts.stored),
            terms=terms,
            idempotency_key=key,
            fingerprint=key and idempotency.fingerprint(intake, request, terms, parts.stored),
        )
        try:
            accepted = await asyncio.to_thread(submit)
        except Exception:
            # Not on a cancellation: the thread goes on, and an accepted job must find its files. What it refuses is
            # left to the sweep.
            await self._forget(txid)
            raise
        if accepted != txid:
            await self._forget(txid)
        return Accepted(txid=accepted, replayed=accepted != txid)

    async def _earlier(self, intake: Intake, values: Mapping[str, object], client: str) -> Earlier | None:
        txid = values.get("source_txid")
        return None if txid is None else await asyncio.to_thread(earlier, intake, self._desk, client, str(txid))

    async def _forget(self, txid: str) -> None:
        uploads, _results = job_prefixes(txid)
        await self._storage.delete_prefix(uploads)


@asynccontextmanager
async def _no_longer_than(seconds: float) -> AsyncIterator[None]:
    """Give an upload up in time: twice as old and without a job, it is what the sweep deletes."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as e:
        raise UploadStalled(f"The upload took longer than {seconds:,.0f} s. Send it over a faster connection.") from e


class _Parts:
    """The parts of one body as they are taken: fields kept, files stored."""

    def __init__(self, intake: Intake, txid: str, storage: Storage, limit: int) -> None:
        self.fields: list[tuple[str, str]] = []
        self.names: dict[UploadPart, str] = {}
        self.stored: list[StoredFile] = []
        self._intake = intake
        self._txid = txid
        self._storage = storage
        self._limit = limit

    async def take(self, body: Multipart) -> None:
        for _ in range(_MAX_PARTS):
            head = await body.next_part()
            if head is None:
                return
            if head.filename is None:
                self._text(head.name, await self._field(head, body))
            else:
                await self._file(head, head.filename, body)
        raise BodyInvalid(f"The body has more than {_MAX_PARTS} parts.")

    def add(self, names: Mapping[UploadPart, str]) -> None:
        """Count files in that are there already, in place of which none may have come."""
        for part, name in names.items():
            if any(taken.part is part.part for taken in self.names):
                raise ParameterInvalid(
                    f"{part.part} came as a file, and source_txid says that an earlier job's stands for it. Leave "
                    "out one of them.",
                    field=part.part,
                )
            self.names[part] = name

    def _text(self, name: str, text: str) -> None:
        """Keep a field. `weights` is the name of a file and of a precision: without a file name it is the latter."""
        part = name in part_names(self._intake)
        if not part or (name in parameter_names(self._intake) and text.strip() in tuple(Precision)):
            self.fields.append((name, text))
        elif text:
            raise ParameterInvalid(
                f"{name} came as text, not as a file. With curl write --form {name}=@FILE.", field=name
            )

    async def _field(self, head: PartHead, body: Multipart) -> str:
        text = bytearray()
        async for chunk in body.data():
            text += chunk
            if len(text) > _MAX_FIELD_BYTES:
                raise ParameterInvalid(f"{head.name} is longer than {_MAX_FIELD_BYTES:,} bytes.", field=head.name[:100])
        try:
            return text.decode()
        except UnicodeDecodeError as e:
            raise ParameterInvalid(f"{head.name} is not UTF-8 text.", field=head.name[:100]) from e

    async def _file(self, head: PartHead, given: str, body: Multipart) -> None:
        if head.name in parameter_names(self._intake) - PART_NAMES:
            raise ParameterInvalid(f"{head.name} came as a file. Send it as a field, or in the query.", field=head.name)
        part = find_part(self._intake, head.name, given)
        data = body.data()
        first = await anext(data, b"")
        if not first and not given:
            return  # a page's file field that was left empty
        if any(taken.part is part.part for taken in self.names):
            raise ParameterInvalid(f"{part.part} came twice. Send one file.", field=part.part)
        name = file_name(part, given)
        if not first:
            raise EmptyFile(f"{part.part}: {given!r} is empty. Was it saved, and closed?", field=part.part)
        key = upload_key(self._txid, part.part, name)
        limit = min(self._limit, part.max_bytes or self._limit)
        self.stored.append(await self._storage.put(key, _chain(first, data), limit=limit))
        self.names[part] = name


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
