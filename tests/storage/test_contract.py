"""What both places of files do alike: a folder of this machine, and a bucket of an S3 that checks signatures."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coppice.errors import UploadTooLarge
from coppice.records.request import Part
from coppice.settings import Settings
from coppice.storage import Storage, job_prefixes, result_key, upload_key
from tests.fleet.s3 import Server
from tests.storage.places import BYTES, KEY, TXID, bucket, do, in_bucket, objects, pieces, read

OTHER = upload_key(TXID, Part.WEIGHTS, "net.pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    storage: Storage
    #: The keys of all files that are there, looked at from behind.
    files: Callable[[], set[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with bucket(tmp_path_factory.mktemp("bucket")) as server:
        yield server


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "bucket":
        server = request.getfixturevalue("server")
        settings = in_bucket(server, tmp_path)
        return Place(storage=Storage(settings), files=lambda: objects(server, settings))
    root = tmp_path / "store"
    return Place(
        storage=Storage(Settings(data_dir=tmp_path)),
        files=lambda: {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()},
    )


@pytest.mark.parametrize("content", [b"", b"model", BYTES[: 5 * 1024 * 1024], BYTES])
def test_a_file_comes_back_as_it_went_in(place: Place, content: bytes) -> None:
    file = do(place.storage.put(KEY, pieces(content), limit=len(content)))
    assert (file.key, file.size, file.sha256) == (KEY, len(content), hashlib.sha256(content).hexdigest())
    assert do(read(place.storage, KEY)) == (len(content), content)
    assert do(place.storage.size(KEY)) == len(content)
    assert place.files() == {KEY}


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (1, 100), (0, None), (len(BYTES) - 1, None), (3_000_000, 9_000_000), (100, 10**9)]
)
def test_a_range_is_that_part(place: Place, start: int, end: int | None) -> None:
    do(place.storage.put(KEY, pieces(BYTES), limit=len(BYTES)))
    wanted = BYTES[start:end]
    assert do(read(place.storage, KEY, start, end)) == (len(wanted), wanted)


@pytest.mark.parametrize("limit", [0, 100_000, len(BYTES) - 1])
def test_an_upload_past_the_limit_leaves_nothing(place: Place, limit: int) -> None:
    with pytest.raises(UploadTooLarge, match=f"{limit:,}"):
        do(place.storage.put(KEY, pieces(BYTES), limit=limit))
    assert place.files() == set()


@pytest.mark.parametrize("content", [b"model", BYTES])
def test_a_client_that_breaks_off_leaves_nothing_and_is_no_fault_of_the_store(place: Place, content: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        do(place.storage.put(KEY, pieces(content, then=ConnectionResetError("gone")), limit=10**9))
    assert place.files() == set()


def test_a_cancelled_upload_leaves_nothing_to_be_seen(place: Place) -> None:
    async def cancel_half_way() -> None:
        half_way = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            async for piece in pieces(BYTES):
                yield piece
            half_way.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(place.storage.put(KEY, endless(), limit=10**9))
        await half_way.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload

    do(cancel_half_way())
    # A bucket keeps the parts until its own rule for incomplete uploads takes them; no listing shows them.
    assert do(place.storage.uploads()) == []
    with pytest.raises(FileNotFoundError):
        do(place.storage.get(KEY))


def test_a_failed_upload_takes_no_other_file_with_it(place: Place) -> None:
    do(place.storage.put(OTHER, pieces(b"weights"), limit=100))
    with pytest.raises(UploadTooLarge):
        do(place.storage.put(KEY, pieces(BYTES), limit=100))
    assert place.files() == {OTHER}


def test_what_is_not_there_is_not_found(place: Place, tmp_path: Path) -> None:
    storage = place.storage
    looks = (
        storage.get(KEY),
        storage.get(KEY, 5, 10),
        storage.size(KEY),
        storage.fetch(KEY, tmp_path / "copy"),
        storage.copy(KEY, OTHER, sha256="0" * 64),
    )
    for look in looks:
        with pytest.raises(FileNotFoundError):
            do(look)
    assert place.files() == set()


def test_a_fetched_file_and_a_copy_are_their_own(place: Place, tmp_path: Path) -> None:
    put = do(place.storage.put(KEY, pieces(BYTES), limit=len(BYTES)))
    do(place.storage.fetch(KEY, tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == BYTES
    (tmp_path / "fetched").write_bytes(b"changed by the job")
    copy = do(place.storage.copy(KEY, OTHER, sha256=put.sha256))
    assert (copy.key, copy.size, copy.sha256) == (OTHER, len(BYTES), put.sha256)
    do(place.storage.delete_prefix(f"uploads/{TXID}/model"))
    assert place.files() == {OTHER}
    assert do(read(place.storage, OTHER)) == (len(BYTES), BYTES)


def test_deleting_a_job_deletes_its_files_and_no_other(place: Place) -> None:
    # A prefix is a folder, not the beginning of a word.
    longer, results = f"uploads/{TXID}0/model/net.h5", result_key(TXID, 1, "net.h5")
    for key in (KEY, OTHER, results, longer):
        do(place.storage.put(key, pieces(b"model"), limit=100))
    for prefix in (*job_prefixes(TXID), *job_prefixes(TXID)):
        do(place.storage.delete_prefix(prefix))
    assert place.files() == {longer}


def test_what_is_stored_is_told_by_transaction_and_by_attempt(place: Place) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=2)  # clocks of file systems are coarse
    keys = (KEY, OTHER, "uploads/lost+found/x", result_key(TXID, 1, "a"), result_key(TXID, 2, "a"))
    for key in keys:
        do(place.storage.put(key, pieces(b"model"), limit=100))
    uploads, results = do(place.storage.uploads()), do(place.storage.results())
    assert {(folder.prefix, folder.txid) for folder in uploads} == {(f"uploads/{TXID}", TXID)}
    assert {(folder.prefix, folder.txid) for folder in results} == {
        (f"results/{TXID}/{attempt}", TXID) for attempt in (1, 2)
    }
    for folder in (*uploads, *results):
        assert begin <= folder.written <= datetime.now(UTC) + timedelta(seconds=1)
        do(place.storage.delete_prefix(folder.prefix))
    assert place.files() == {"uploads/lost+found/x"}
