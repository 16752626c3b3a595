"""Stores that fail: a disk that is full or read-only, an S3 that is away, refuses, or says nothing; and after that."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coppice.errors import ParameterInvalid, StorageUnavailable
from coppice.settings import Settings
from coppice.storage import Storage
from coppice.storage.bucket import BucketPlace, Patience
from coppice.storage.trouble import told
from tests.fleet.s3 import Server
from tests.http.process import api_process, curl
from tests.storage.places import BYTES, KEY, bucket, do, in_bucket, objects, pieces, read

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[Path]:
    """A disk of its own, of so many bytes."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_is_told_leaves_nothing_and_passes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        storage = Storage(Settings(data_dir=disk))
        kept = do(storage.put(KEY, pieces(b"kept"), limit=100))
        for key in ("uploads/a/model/x", "uploads/b/model/x"):
            with pytest.raises(StorageUnavailable, match="disk is full"):
                do(storage.put(key, pieces(BYTES), limit=10**9))
        assert files_under(disk) == [disk / "store" / kept.key]
        with pytest.raises(StorageUnavailable, match="disk is full"):
            do(storage.fetch(KEY, full(disk)))
        (disk / "ballast").unlink()
        assert do(storage.put("uploads/a/model/x", pieces(BYTES[:MIB]), limit=10**9)).size == MIB
        assert do(read(storage, KEY)) == (4, b"kept")


def full(disk: Path) -> Path:
    """A path on the disk, which has no room left."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        while os.statvfs(disk).f_bavail:
            ballast.write(bytes(os.statvfs(disk).f_bsize))
    return disk / "fetched"


def test_a_read_only_disk_is_told_can_be_read_and_passes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        storage = Storage(Settings(data_dir=disk))
        do(storage.put(KEY, pieces(b"kept"), limit=100))
        remount(disk, "ro")
        for attempt in (
            storage.put("uploads/a/model/x", pieces(b"new"), limit=100),
            storage.put("uploads/a/model/y", pieces(BYTES), limit=10**9),
            storage.copy(KEY, "uploads/b/model/x", sha256="0" * 64),
            storage.delete_prefix("uploads"),
        ):
            with pytest.raises(StorageUnavailable, match="read only"):
                do(attempt)
        assert do(read(storage, KEY)) == (4, b"kept")
        with pytest.raises(StorageUnavailable, match="read only"):
            Storage(Settings(data_dir=disk / "elsewhere"))
        remount(disk, "rw")
        assert do(storage.put("uploads/a/model/x", pieces(b"new"), limit=100)).size == 3


def test_a_folder_of_somebody_else_is_told() -> None:
    # As root nothing is refused, so the operating system's answer is given here.
    with pytest.raises(StorageUnavailable, match="read only, or not at all"), told():
        raise PermissionError(13, "Permission denied")


@pytest.mark.slow
def test_the_service_refuses_on_a_full_disk_and_takes_the_next_upload_after_it(tmp_path: Path) -> None:
    model, big = tmp_path / "net.h5", tmp_path / "big.h5"
    model.write_bytes(b"model")
    big.write_bytes(bytes(24 * MIB))
    with (
        small_disk(tmp_path / "disk", "16m") as disk,
        api_process(Settings(data_dir=disk, port=0, tls=False)) as server,
    ):
        call = f"{server.url}/api/tf_prune?percent=0.4"
        refused = curl("-s", "-i", "--form", f"model=@{big}", call)
        assert "503 Service Unavailable" in refused
        assert "retry-after:" in refused.lower()
        assert "its disk is full" in refused
        assert '"code":"storage_unavailable"' in refused
        assert files_under(disk / "store") == []
        assert "Successfully submitted" in curl("-s", "--form", f"model=@{model}", call)


def _plain(disk: Path) -> Settings:
    return Settings(data_dir=disk, port=0, tls=False)


@pytest.mark.parametrize("url", ["http://bucket", "bucket", "file:///data", ""])
def test_an_address_that_is_no_bucket_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ParameterInvalid, match="s3://bucket/prefix"):
        Storage(Settings(data_dir=tmp_path, storage_url=url))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with bucket(tmp_path_factory.mktemp("bucket")) as server:
        yield server


@pytest.mark.slow
def test_an_s3_that_dies_in_the_middle_leaves_nothing_and_takes_the_next(server: Server, tmp_path: Path) -> None:
    settings = in_bucket(server, tmp_path)
    storage = Storage(settings)

    async def cut() -> AsyncIterator[bytes]:
        async for piece in pieces(BYTES):
            yield piece
        server.kill()
        yield b"the rest"

    with pytest.raises(StorageUnavailable, match="can't be reached"):
        do(storage.put(KEY, cut(), limit=10**9))
    with pytest.raises(StorageUnavailable, match="can't be reached"):
        do(storage.get(KEY))
    server.start()
    assert KEY not in objects(server, settings)
    with pytest.raises(FileNotFoundError):
        do(storage.get(KEY))
    assert do(storage.put(KEY, pieces(BYTES), limit=10**9)).size == len(BYTES)
    assert do(read(storage, KEY)) == (len(BYTES), BYTES)


@pytest.mark.slow
def test_an_s3_that_dies_in_the_middle_of_a_download_breaks_it_off(server: Server, tmp_path: Path) -> None:
    storage, large = Storage(in_bucket(server, tmp_path)), BYTES * 4
    do(storage.put(KEY, pieces(large), limit=10**9))

    async def cut() -> None:
        download = await storage.get(KEY)
        async for _ in download.chunks:
            server.kill()

    # Never the end of the file where it isn't.
    with pytest.raises(StorageUnavailable):
        do(cut())
    server.start()
    assert do(read(storage, KEY)) == (len(large), large)


@pytest.mark.slow
def test_an_s3_that_refuses_is_told_from_one_that_has_no_such_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Storage(Settings(data_dir=tmp_path, storage_url="s3://no-such-bucket/x"))
    for call in (nowhere.get(KEY), nowhere.size(KEY), nowhere.put(KEY, pieces(b"x"), limit=1)):
        with pytest.raises(StorageUnavailable, match="bucket does not exist"):
            do(call)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    stranger = Storage(in_bucket(server, tmp_path))
    for call in (stranger.get(KEY), stranger.size(KEY), stranger.put(KEY, pieces(BYTES), limit=10**9)):
        with pytest.raises(StorageUnavailable, match="refuses the service's credentials"):
            do(call)


def test_an_s3_that_says_nothing_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(connect=0.2, silence=0.3, again=0.3, copying=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "x")
        place = BucketPlace("s3://bucket", patience)
        for call in (place.get(KEY, 0, None), place.put(KEY, pieces(b"x"), {}), place.delete_prefix("uploads/x")):
            start = time.monotonic()
            with pytest.raises(StorageUnavailable), told():
                do(call)
            # Ten times what it should take, on a machine that others use, and far from for ever.
            assert time.monotonic() - start < 10


def test_the_ordinary_patience_ends_within_a_minute() -> None:
    # The last try begins before `again` is over, and each ends with `silence`.
    patience = Patience()
    assert patience.again + patience.connect + patience.silence < 60
