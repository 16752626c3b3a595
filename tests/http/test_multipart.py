"""The multipart reader, against bodies written by hand and by another library, cut at every place."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.errors import BadRequest, CoppiceError, UnsupportedMediaType, UploadStalled, UploadTooLarge
from coppice.http.multipart import Multipart, PartHead, boundary_of, watched


async def stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def parts_of(chunks: Sequence[bytes], boundary: bytes) -> list[tuple[PartHead, bytes]]:
    async def read() -> list[tuple[PartHead, bytes]]:
        body, found = Multipart(stream(chunks), boundary), []
        while (head := await body.next_part()) is not None:
            found.append((head, b"".join([data async for data in body.data()])))
        return found

    return asyncio.run(read())


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


#: Contents made of what a boundary is made of, so that near misses are common.
CONTENT = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"b0", b"\r\n--b", b"\r\n--b0x", b"\x00\xff"])).map(
    b"".join
)


@given(contents=st.lists(CONTENT, min_size=1, max_size=4), places=st.lists(st.integers(0, 10_000), max_size=8))
def test_where_the_network_cuts_a_body_changes_nothing(contents: list[bytes], places: list[int]) -> None:
    # The boundary is no content's: after `--b0` comes a letter or the content ends.
    boundary = b"b0-end-of-part"
    files = [("part", (f"file{number}", content)) for number, content in enumerate(contents)]
    request = httpx.Request("POST", "http://a/", files=files, headers=_form(boundary))
    expected = [(PartHead("part", f"file{number}"), content) for number, content in enumerate(contents)]
    assert parts_of(cut(request.read(), places), boundary) == expected


def _form(boundary: bytes) -> dict[str, Any]:
    return {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}


def test_a_part_that_is_not_read_is_passed_over() -> None:
    async def names() -> list[str]:
        body = Multipart(stream([BODY]), b"b")
        found = []
        while (head := await body.next_part()) is not None:
            found.append(head.name)
        return found

    assert asyncio.run(names()) == ["one", "two"]


BODY = (
    b'--b\r\nContent-Disposition: form-data; name="one"\r\n\r\nfirst\r\n'
    b'--b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=two; filename="a \\"b\\".py"\r\n\r\n'
    b"second\r\n--b--\r\n"
)


def test_a_field_has_no_file_name_and_a_file_has() -> None:
    assert parts_of([BODY], b"b") == [(PartHead("one", None), b"first"), (PartHead("two", 'a "b".py'), b"second")]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_file_name_of_another_alphabet_is_read(encoding: str) -> None:
    disposition = 'Content-Disposition: form-data; name="model"; filename="modèle.h5"'.encode(encoding)
    body = b"--b\r\n" + disposition + b"\r\n\r\nx\r\n--b--\r\n"
    assert parts_of([body], b"b")[0][0].filename == "modèle.h5"


def test_the_second_of_two_boundaries_is_the_true_one() -> None:
    assert boundary_of("multipart/form-data; boundary=---0110; boundary=----true") == b"----true"


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/mixed; boundary=b", "multipart/form-data"]
)
def test_a_body_that_is_no_form_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        boundary_of(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not multipart at all",
        BODY[:-8],
        BODY[:60],
        BODY.replace(b"--b", b"--c"),
        b"--b\r\nno colon\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n\r\nno name\r\n--b--\r\n",
        b"--b\r\nX: " + b"x" * 10_000 + b"\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n" + b"X: x\r\n" * 100 + b"\r\nx\r\n--b--\r\n",
    ],
)
def test_a_broken_body_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parts_of([body], b"b")


def test_a_boundary_of_absurd_length_is_refused() -> None:
    with pytest.raises(BadRequest):
        Multipart(stream([]), b"b" * 5000)


def test_a_body_over_the_limit_is_cut_off_at_the_limit() -> None:
    seen: list[bytes] = []
    assert isinstance(asyncio.run(_drain(stream([b"12345"] * 100), seen, limit=12)), UploadTooLarge)
    assert b"".join(seen) == b"1234512345"


def test_a_body_that_stops_coming_is_given_up() -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b"begin"
        await asyncio.Event().wait()

    seen: list[bytes] = []
    assert isinstance(asyncio.run(_drain(silent(), seen, limit=100)), UploadStalled)
    assert seen == [b"begin"]


async def _drain(chunks: AsyncIterator[bytes], seen: list[bytes], *, limit: int) -> CoppiceError | None:
    try:
        async for chunk in watched(chunks, limit=limit, stall_seconds=0.05):
            seen.append(chunk)  # noqa: PERF401  # what came before the error is wanted
    except CoppiceError as error:
        return error
    return None
