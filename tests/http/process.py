"""The real API process on a real socket, and the real curl."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An API process that listens."""

    settings: Settings
    pid: int
    port: int
    #: What it printed.
    line: str

    @property
    def url(self) -> str:
        return f"{'https' if self.settings.tls else 'http'}://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A bare connection, for what no well-behaved client does."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def api_process(settings: Settings) -> Iterator[Served]:
    """Start `python -m coppice.http`; it is asked to stop at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "coppice.http"],
        cwd=ROOT,
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        match = re.search(r":(\d+) ", line)
        assert match is not None, f"it printed {line!r}"
        yield Served(settings=settings, pid=process.pid, port=int(match[1]), line=line)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def curl(*arguments: str) -> str:
    """What curl prints; fails when curl does."""
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    return subprocess.run(["curl", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout
