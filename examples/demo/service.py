"""A real service on a free port of this machine, and the curl calls of the documents."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True, width=100)

#: Seconds that the service gets to answer for the first time, and to end.
START_SECONDS, STOP_SECONDS = 120, 20


@contextmanager
def service(data: Path, extra: Sequence[str]) -> Iterator[str]:
    """Start `coppice serve`, yield its address once it answers, end it by its process id in every case."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("coppice")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(data), *extra]
    console.print(f"[dim]$ {escape(shlex.join(['coppice', *command[1:]]))}[/]")
    log = data / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"https://127.0.0.1:{port}"
        _await_answer(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the service ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            urllib.request.urlopen(f"{url}/docs", timeout=5, context=trusting).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"the service did not answer within {START_SECONDS} s:\n{log.read_text()[-3000:]}")


def curl(*arguments: str, folder: Path, show: bool = True) -> dict[str, Any]:
    """Run curl as a user types it, in the folder of the user's files; the answer, which is JSON."""
    if show:
        console.print(f"[dim]$ {escape(shlex.join(['curl', *arguments]))}[/]")
    found = subprocess.run(
        ["curl", "--silent", "--show-error", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(f"curl ended with {found.returncode}: {found.stderr}")
    answer: dict[str, Any] = json.loads(found.stdout) if found.stdout else {}
    if show and answer:
        console.print(escape(json.dumps(answer)))
    return answer
