"""A full disk, a read-only folder, an S3 and a database that are away: clients are told, and it passes by itself.

Nothing is started again by the tests but what they took away.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from coppice.errors import ServiceUnavailable
from tests.fleet.chaos import REASONS, check_end
from tests.fleet.fleet import Client, Fleet, embedded, fleet, short_lived, until
from tests.hostile.case import QUERY, pytorch, source
from tests.serving import COMMAND, DONE

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


def submit(client: Client, files: dict[str, tuple[str, bytes]] | None = None) -> httpx.Response:
    """One call, just once."""
    url = f"{client.urls[0]}/api/pt_prune"
    return client.http.post(url, params=QUERY, files=dict(files or pytorch()))


def check_refused(answer: httpx.Response, code: str) -> None:
    """The client is told that it's not his fault and when to come again, and nothing of how the service is made."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == code
    assert int(answer.headers["Retry-After"]) > 0
    assert not [word for word in ("/tmp", "Errno", "sqlite", "psycopg", "rclone") if word in answer.text]


def check_well(client: Client) -> None:
    """A new job is accepted and ends with its result."""
    answer = until(
        lambda: found if (found := submit(client)).status_code == 200 else None, "an accepted job", seconds=60
    )
    txid = answer.json()["txid"]
    assert client.end(txid)["status"] == DONE
    check_end(client, txid)


def running_for(seconds: int) -> dict[str, tuple[str, bytes]]:
    """An upload whose job takes that long."""
    return dict(pytorch(class_def=source(top=f"import time; time.sleep({seconds})")))


def pid_of(running: Fleet) -> list[int]:
    return [daemon.process.pid for daemon in running.programs if daemon.process is not None]


# The data folder of one machine.


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A file system of its own on a folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take what is left of a disk; the file to delete when that is over."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


@as_root
def test_a_full_disk_and_a_read_only_folder_pass_by(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with mounted(data, "-t", "tmpfs", "-o", "size=192m", "coppice"), embedded(tmp_path) as running:
        client = Client(urls=[*running.apis])
        check_well(client)
        before = pid_of(running)

        held = submit(client, running_for(6)).json()["txid"]
        until(lambda: client.status(held)["status"] == 2, "the job's start")
        ballast = fill(data)
        assert submit(client).status_code == 503
        check_refused(submit(client), "storage_unavailable")
        ballast.unlink()
        check_well(client)
        end = client.end(held)
        assert end["status"] == DONE or end["code"] in {*REASONS, "disk_limit"}, end

        with mounted(data / "store", "--bind", str(data / "store")):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(data / "store")], check=True)
            check_refused(submit(client), "storage_unavailable")
        check_well(client)
        assert pid_of(running) == before


@as_root
def test_a_data_folder_that_can_t_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with mounted(data, "-t", "tmpfs", "-o", "ro,size=1m", "coppice"):
        told = {**os.environ, **short_lived(data, port=0).environment()}
        ran = subprocess.run([str(COMMAND), "serve"], env=told, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == ServiceUnavailable.exit_code, ran.stderr
    assert str(data) in ran.stderr
    assert "Traceback" not in ran.stderr


# The servers of a fleet.


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("faults"), apis=1, workers=1) as found:
        yield found


@pytest.fixture
def client(running: Fleet) -> Client:
    return Client(urls=[*running.apis])


def test_an_s3_that_refuses_us_is_told_and_passes_by(running: Fleet, client: Client) -> None:
    assert running.storage is not None
    server = running.storage.daemon
    right = server.command
    server.kill()
    server.command = [word + "x" if word.startswith("--auth-key=") else word for word in right]
    server.start()
    check_refused(submit(client), "storage_unavailable")
    server.kill()
    server.command = right
    server.start()
    check_well(client)


def test_an_s3_that_is_away_is_told_and_passes_by(running: Fleet, client: Client) -> None:
    assert running.storage is not None
    held = submit(client, running_for(4)).json()["txid"]
    until(lambda: client.status(held)["status"] == 2, "the job's start")
    running.storage.kill()
    check_refused(submit(client), "storage_unavailable")
    assert client.status(held)["status"] in (1, 2)  # what needs no file goes on
    running.storage.start()
    check_end(client, held)
    assert client.status(held)["status"] == DONE
    check_well(client)


def test_a_database_that_is_away_is_told_and_passes_by(running: Fleet, client: Client) -> None:
    assert running.database is not None
    held = submit(client, running_for(4)).json()["txid"]
    until(lambda: client.status(held)["status"] == 2, "the job's start")
    running.database.kill()
    check_refused(submit(client), "database_unavailable")
    asked = client.http.get(f"{client.urls[0]}/api/status/", params={"txid": held})
    check_refused(asked, "database_unavailable")
    running.database.start()
    check_end(client, held)
    assert client.status(held)["status"] == DONE
    check_well(client)
