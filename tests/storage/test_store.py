"""The store keeps what it accepted, whole, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from coppice.errors import UploadTooLarge
from coppice.records.request import Part
from coppice.settings import Settings
from coppice.storage import Storage, job_prefixes, upload_key

T = TypeVar("T")

TXID = "7d2c7a9e-93d1-4b0c-a7a8-3f6f0d2a9b11"
KEY = upload_key(TXID, Part.MODEL, "net.h5")
BYTES = bytes(range(256)) * 50_000  # 12.8 MB: more than obstore's parts of 5 MiB


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(Settings(data_dir=tmp_path))


def do(task: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(task)


async def pieces(content: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]
    if then is not None:
        raise then


def stored(folder: Path) -> set[str]:
    """Everything in the store, but for the two folders that all jobs share."""
    return {str(path.relative_to(folder / "store")) for path in (folder / "store").rglob("*")} - {"uploads", "results"}


async def read(storage: Storage, key: str) -> tuple[int, bytes]:
    download = await storage.get(key)
    return download.size, b"".join([chunk async for chunk in download.chunks])


def test_a_file_comes_back_as_it_went_in(storage: Storage) -> None:
    file = do(storage.put(KEY, pieces(BYTES), limit=len(BYTES)))
    assert (file.key, file.size, file.sha256) == (KEY, len(BYTES), hashlib.sha256(BYTES).hexdigest())
    assert do(read(storage, KEY)) == (len(BYTES), BYTES)


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    assert do(storage.put(KEY, pieces(b""), limit=1)).size == 0
    assert do(read(storage, KEY)) == (0, b"")


@pytest.mark.parametrize("limit", [0, 100_000, len(BYTES) - 1])
def test_an_upload_past_the_limit_leaves_nothing(storage: Storage, tmp_path: Path, limit: int) -> None:
    with pytest.raises(UploadTooLarge, match=f"{limit:,}"):
        do(storage.put(KEY, pieces(BYTES), limit=limit))
    assert stored(tmp_path) == set()


def test_a_client_that_breaks_off_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        do(storage.put(KEY, pieces(BYTES, then=ConnectionResetError("gone")), limit=10**9))
    assert stored(tmp_path) == set()


def test_a_cancelled_upload_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    async def cancel_half_way() -> None:
        half_way = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            async for piece in pieces(BYTES):
                yield piece
            half_way.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(storage.put(KEY, endless(), limit=10**9))
        await half_way.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload

    do(cancel_half_way())
    assert stored(tmp_path) == set()


def test_a_failed_upload_takes_no_other_file_with_it(storage: Storage, tmp_path: Path) -> None:
    other = upload_key(TXID, Part.WEIGHTS, "net.pth")
    do(storage.put(other, pieces(b"weights"), limit=100))
    with pytest.raises(UploadTooLarge):
        do(storage.put(KEY, pieces(BYTES), limit=100))
    assert stored(tmp_path) == {f"uploads/{TXID}", f"uploads/{TXID}/weights", other}


def test_a_file_and_its_folders_are_on_disk_before_it_counts(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    do(storage.put(KEY, pieces(b"model"), limit=100))
    path = tmp_path / "store" / KEY
    assert synced == [place.stat().st_ino for place in (path, *path.parents[:4])]
    assert path.parents[3] == tmp_path / "store"


def test_what_is_not_there_is_not_found(storage: Storage, tmp_path: Path) -> None:
    for look in (storage.get(KEY), storage.fetch(KEY, tmp_path / "copy")):
        with pytest.raises(FileNotFoundError):
            do(look)


def test_a_fetched_file_is_a_copy(storage: Storage, tmp_path: Path) -> None:
    do(storage.put(KEY, pieces(b"model"), limit=100))
    do(storage.fetch(KEY, tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"model"
    (tmp_path / "copy").write_bytes(b"changed by the job")
    assert do(read(storage, KEY)) == (5, b"model")


def test_deleting_a_job_deletes_its_files_and_no_other(storage: Storage, tmp_path: Path) -> None:
    other = upload_key(str(uuid4()), Part.MODEL, "net.h5")
    for key in (KEY, other):
        do(storage.put(key, pieces(b"model"), limit=100))
    # What obstore leaves of an upload when its process is killed, and hides from its own listing.
    (tmp_path / "store" / f"{KEY}#1").write_bytes(b"half a mod")
    for prefix in (*job_prefixes(TXID), *job_prefixes(TXID)):
        do(storage.delete_prefix(prefix))
    assert {path for path in stored(tmp_path) if path.endswith("h5") or TXID in path} == {other}


@pytest.mark.parametrize("key", ["", ".", "..", "../elsewhere", "uploads/../../elsewhere", "/etc/passwd"])
def test_nothing_outside_the_store_can_be_named(storage: Storage, tmp_path: Path, key: str) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    for touch in (storage.fetch(key, tmp_path / "copy"), storage.delete_prefix(key)):
        with pytest.raises(ValueError, match="not inside the store"):
            do(touch)
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.slow
def test_a_large_upload_is_never_held_in_memory(tmp_path: Path) -> None:
    code = f"""
import asyncio, resource, sys
from pathlib import Path
from coppice.settings import Settings
from coppice.storage import Storage
async def megabytes(count):
    for _ in range(count * 16):
        yield bytes(65_536)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
storage = Storage(Settings(data_dir=Path(sys.argv[1])))
asyncio.run(storage.put({KEY!r}, megabytes(1), limit=10**10))
before = peak()
asyncio.run(storage.put({KEY!r}, megabytes(1024), limit=10**10))
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 64, "MiB, for an upload of 1 GiB"
