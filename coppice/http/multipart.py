"""A multipart body read as it arrives: one part after the other, each a stream, never more than a chunk in memory.

python-multipart's push parser finds the parts; here it is turned round, so that the reader asks for the next piece.
Not here: what the parts mean (`http.upload`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from coppice.errors import BodyInvalid, UnsupportedMediaType, UploadStalled, UploadTooLarge

#: Header lines of one part: curl and browsers send two.
_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 8 * 1024
_FORM = b"multipart/form-data"


@dataclass(frozen=True, slots=True)
class PartHead:
    """What the headers of a part say. A part without a file name is a form field."""

    name: str
    filename: str | None


class _Mark(Enum):
    PART_END = auto()
    BODY_END = auto()


def boundary_of(content_type: str | None) -> bytes:
    """The boundary between the parts; raises UnsupportedMediaType when the body is no form.

    A curl that sets the header by hand and then uses `--form` sends two boundaries; the second is the one in use.
    The reader of options keeps the last of a name, which is that one.
    """
    kind, options = parse_options_header(content_type)
    if kind != _FORM:
        raise UnsupportedMediaType(
            f"The body is {kind.decode() or 'of no stated type'}. Send multipart/form-data, "
            "e.g. with curl --form model=@mnist_base.h5."
        )
    boundary = options.get(b"boundary")
    if not boundary:
        raise UnsupportedMediaType("The content type has no boundary. Leave the header to your client's form upload.")
    return boundary


async def watched(chunks: AsyncIterator[bytes], *, limit: int, stall_seconds: float) -> AsyncIterator[bytes]:
    """What `chunks` yields; raises UploadTooLarge past `limit` bytes and UploadStalled when nothing comes for long."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(stall_seconds):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as e:
            raise UploadStalled(f"The upload stopped: nothing came for {stall_seconds:g} s. Send it again.") from e
        size += len(chunk)
        check_size(size, limit)
        yield chunk


def check_size(size: int, limit: int) -> None:
    """Raise UploadTooLarge for a body of more than `limit` bytes."""
    if size > limit:
        raise UploadTooLarge(f"The upload is larger than {limit:,} bytes, the limit of this service.")


class Multipart:
    """The parts of one body, in order. Call `next_part`, then read `data` to its end or leave it; then again."""

    def __init__(self, chunks: AsyncIterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._events: deque[PartHead | bytes | _Mark] = deque()
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": lambda: self._events.append(_Mark.PART_END),
                    "on_end": lambda: self._events.append(_Mark.BODY_END),
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError as e:
            raise BodyInvalid("The multipart boundary is longer than any client's.") from e

    async def next_part(self) -> PartHead | None:
        """The head of the next part; None at the end of the body."""
        while True:
            event = await self._event()
            if event is _Mark.BODY_END:
                return None
            if isinstance(event, PartHead):
                return event

    async def data(self) -> AsyncIterator[bytes]:
        """The bytes of the part whose head was given last."""
        while isinstance(event := await self._event(), bytes):
            yield event

    async def _event(self) -> PartHead | bytes | _Mark:
        while not self._events:
            try:
                self._parser.write(await anext(self._chunks))
            except StopAsyncIteration:
                raise BodyInvalid("The body ends before its last boundary. Send the upload again.") from None
            except FormParserError as e:
                raise BodyInvalid(f"The body is not the multipart/form-data that its header says: {e}.") from e
        return self._events.popleft()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if b"name" not in options:
            raise BodyInvalid("A part of the body has no name. Each needs Content-Disposition: form-data; name=...")
        filename = options.get(b"filename")
        self._events.append(
            PartHead(name=_text(options[b"name"]), filename=None if filename is None else _text(filename))
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])


def _text(value: bytes) -> str:
    # Clients send names in UTF-8, whatever RFC 7578 leaves open; an older one in Latin-1 still gets a name.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
