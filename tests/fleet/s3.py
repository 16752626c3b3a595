"""An S3 of a test's own: `rclone serve s3`, which checks every signature, on a folder. Made ready by `scripts/rclone`.

with s3(tmp_path) as server:
    Settings(storage_url=server.url, ...)   # in processes with server.environment
    server.kill()
    server.start()
"""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.daemon import Daemon, free_port, missing
from tests.fleet.daemon import Server as AnyServer

RCLONE = Path(__file__).parents[2] / ".envs" / "rclone" / "rclone"
BUCKET = "coppice"


@dataclass(frozen=True, kw_only=True)
class Server(AnyServer):
    """An S3 server, how to reach it, and the folder in which its objects are files."""

    endpoint: str
    environment: Mapping[str, str]
    objects: Path


@contextmanager
def s3(folder: Path, *, host: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[Server]:
    """Run a server until the end of the block; its log is `s3.log` in the folder.

    `inside` is put before its commands: what enters a network namespace. Without rclone the test is skipped.
    """
    if not RCLONE.exists():
        missing("rclone (scripts/rclone)")
    port, access, secret = free_port(), secrets.token_hex(8), secrets.token_hex(16)
    served = folder / "s3"
    objects = served / BUCKET
    objects.mkdir(parents=True)
    # No file of the user's: what he has configured is nothing to a test.
    options = ["--config=", f"--auth-key={access},{secret}", f"--cache-dir={folder / 's3-cache'}"]
    daemon = Daemon(
        command=[*inside, str(RCLONE), "serve", "s3", str(served), f"--addr={host}:{port}", *options],
        log=folder / "s3.log",
        ready=lambda: _answers(host, port, inside),
    )
    environment = {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    try:
        daemon.start()
        yield Server(
            url=f"s3://{BUCKET}",
            endpoint=environment["AWS_ENDPOINT"],
            environment=environment,
            objects=objects,
            daemon=daemon,
        )
    finally:
        daemon.kill()


def _answers(host: str, port: int, inside: Sequence[str]) -> bool:
    if inside:
        look = f"exec 3<>/dev/tcp/{host}/{port}"
        return subprocess.run([*inside, "bash", "-c", look], check=False, stderr=subprocess.DEVNULL).returncode == 0
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
