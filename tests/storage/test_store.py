"""What is particular to the folder: it is on disk before it counts, and nothing outside it can be named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.errors import UploadTooLarge
from coppice.records.request import Part
from coppice.settings import Settings
from coppice.storage import Storage, job_prefixes, upload_key
from tests.storage.places import BYTES, KEY, TXID, do, pieces


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(Settings(data_dir=tmp_path))


def stored(folder: Path) -> set[str]:
    """Everything in the store, but for the two folders that all jobs share."""
    return {str(path.relative_to(folder / "store")) for path in (folder / "store").rglob("*")} - {"uploads", "results"}


def test_a_failed_upload_leaves_no_folder_either_and_takes_no_other_file(storage: Storage, tmp_path: Path) -> None:
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


def test_what_a_killed_upload_left_goes_with_its_job(storage: Storage, tmp_path: Path) -> None:
    do(storage.put(KEY, pieces(b"model"), limit=100))
    # What obstore leaves of an upload when its process is killed, and hides from its own listing.
    (tmp_path / "store" / f"{KEY}#1").write_bytes(b"half a mod")
    do(storage.delete_prefix(job_prefixes(TXID)[0]))
    assert stored(tmp_path) == set()


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
