"""A whole fleet of real processes on this machine: API processes, workers on their own folders, PostgreSQL, S3.

Each part can be killed and started again by itself. The clients ask the API processes in turn, and once more when a
call was cut off or the service said that it could not just now: what a well-behaved client does.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from coppice.errors import IsolationUnavailable
from coppice.settings import Settings
from tests.fleet import postgres, s3
from tests.fleet.daemon import Daemon, descendants, free_port, missing
from tests.serving import DONE, Files

T = TypeVar("T")

COMMAND = str(Path(sys.executable).with_name("coppice"))

#: Nothing waits this long unless its test is about to fail: the cores may be shared by many.
DEADLINE_SECONDS = 540.0
POLL_SECONDS = 0.1
#: How often a client asks after a job: each call is work for cores that have enough of it.
ASK_SECONDS = 0.5

#: Short, so that a dead machine is noticed within a test; long enough that a busy core is not taken for one.
HEARTBEAT_SECONDS, DEAD_AFTER_SECONDS = 1.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The parts of a service, and its clients' side."""

    folder: Path
    settings: Settings
    apis: Mapping[str, Daemon]  # by address
    workers: Sequence[Daemon]
    database: postgres.Server | None = None
    storage: s3.Server | None = None

    @property
    def programs(self) -> list[Daemon]:
        """Every process of Coppice that was started here."""
        return [*{id(daemon): daemon for daemon in (*self.apis.values(), *self.workers)}.values()]

    def objects(self) -> set[str]:
        """The keys of every file that the service has stored, unfinished ones among them."""
        root = self.settings.data_dir / "store" if self.storage is None else self.storage.objects
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@dataclass(frozen=True, kw_only=True)
class Client:
    """Somebody who sends jobs and asks after them; one for each thread."""

    urls: Sequence[str]
    #: How often a call is made at most; a call that fails so often is a failure of the service.
    tries: int = 100_000
    turns: Iterator[str] = field(init=False)
    http: httpx.Client = field(
        # A kept connection could be closed just as it is used.
        default_factory=lambda: httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", itertools.cycle(self.urls))

    def call(self, method: str, path: str, **what: Any) -> httpx.Response:
        """Make a call, again where it was cut off or the service could not; any other answer is given as it is."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        said = "nothing"
        for _ in range(self.tries):
            try:
                answer = self.http.request(method, next(self.turns) + path, **what)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer
                said = answer.text
            except httpx.TransportError as e:
                said = repr(e)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{method} {path} was not answered: {said}")

    def submit(self, call: str, query: Mapping[str, str], files: Files) -> str:
        """Send a job. Repeated, the call is the same call: the service makes one job of it."""
        headers = {"Idempotency-Key": str(uuid4())}
        answer = self.call("POST", f"/api/{call}", params=dict(query), files=dict(files), headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["txid"])

    def status(self, txid: str) -> dict[str, Any]:
        """What the service says of a job."""
        told: dict[str, Any] = self.call("GET", "/api/status/", params={"txid": txid}).json()
        return told

    def end(self, txid: str) -> dict[str, Any]:
        """The status of a job once it has ended."""

        def look() -> dict[str, Any] | None:
            told = self.status(txid)
            return told if told["status"] <= DONE else None

        return until(look, f"the end of {txid}", every=ASK_SECONDS)

    def download(self, txid: str, artifact: str = "state_dict") -> httpx.Response:
        """A file of a result."""
        return self.call("GET", "/api/download", params={"txid": txid, "artifact": artifact}, follow_redirects=True)


def until(
    look: Callable[[], T | None], what: str, *, seconds: float = DEADLINE_SECONDS, every: float = POLL_SECONDS
) -> T:
    """The first true thing that `look` gives."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(every)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def short_lived(folder: Path, **changed: Any) -> Settings:
    """Settings of a fleet in a test: signs of life come soon, and a job may start more often."""
    return Settings(
        data_dir=folder,
        tls=False,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        dead_after_seconds=DEAD_AFTER_SECONDS,
        # Here jobs are killed by others, and three starts could be lost by bad luck.
        max_attempts=10,
        # Eight clients on one address, who ask again and again.
        calls_per_minute=1_000_000,
    ).model_copy(update=changed)


@contextmanager
def fleet(folder: Path, *, apis: int = 2, workers: int = 2, **changed: Any) -> Iterator[Fleet]:
    """Run a fleet until the end of the block; every part has its log in the folder."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres.postgres(folder))
        storage = stack.enter_context(s3.s3(folder))
        settings = short_lived(folder, database_url=database.url, storage_url=storage.url, **changed)
        migrate(settings, storage.environment)
        serving = {}
        for number in range(apis):
            port = free_port()
            own = settings.model_copy(update={"data_dir": folder / f"api-{number}", "port": port, "workers": 0})
            serving[f"http://127.0.0.1:{port}"] = program(("serve",), own, storage.environment)
        working = [
            program(("work",), settings.model_copy(update={"data_dir": folder / f"work-{number}"}), storage.environment)
            for number in range(workers)
        ]
        running = Fleet(
            folder=folder, settings=settings, apis=serving, workers=working, database=database, storage=storage
        )
        with started(running.programs):
            yield running


@contextmanager
def embedded(folder: Path, **changed: Any) -> Iterator[Fleet]:
    """Run `coppice serve` alone, with SQLite, its data folder and two workers, until the end of the block."""
    port = free_port()
    settings = short_lived(folder / "data", port=port, workers=2, **changed)
    service = program(("serve",), settings, {})
    running = Fleet(folder=folder, settings=settings, apis={f"http://127.0.0.1:{port}": service}, workers=[service])
    with started(running.programs):
        yield running


@contextmanager
def started(programs: Sequence[Daemon]) -> Iterator[None]:
    """Start programs side by side; they are stopped at the end."""
    try:
        for daemon in programs:
            daemon.launch()
        for daemon in programs:
            daemon.start()
        yield
    except AssertionError as e:
        # CI has no folder to look into afterwards.
        for daemon in programs:
            e.add_note(f"{daemon.log.name}: ...{daemon.log.read_text(errors='replace')[-1500:]}")
        raise
    finally:
        for daemon in programs:
            daemon.kill()


def migrate(settings: Settings, environment: Mapping[str, str]) -> None:
    """Make the tables, as the operator does first."""
    told = {**os.environ, **environment, **settings.environment()}
    ran = subprocess.run([COMMAND, "migrate"], env=told, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def program(
    command: Sequence[str], settings: Settings, environment: Mapping[str, str], *, inside: Sequence[str] = ()
) -> Daemon:
    """A `coppice` command that runs on; its log is beside its data folder."""
    log = settings.data_dir.with_name(f"{settings.data_dir.name}.log")
    looks = {"serve": lambda: _listens(settings, inside), "work": lambda: "\n  isolation " in log.read_text()}
    return Daemon(
        command=[*inside, COMMAND, *command],
        log=log,
        environment={**environment, **settings.environment()},
        ready=looks[command[0]],
        refusal=lambda code: missing("a sandbox") if code == IsolationUnavailable.exit_code else None,
    )


def _listens(settings: Settings, inside: Sequence[str]) -> bool:
    if inside:
        look = f"exec 3<>/dev/tcp/{settings.host}/{settings.port}"
        return subprocess.run([*inside, "bash", "-c", look], check=False, stderr=subprocess.DEVNULL).returncode == 0
    try:
        socket.create_connection((settings.host, settings.port), timeout=1).close()
    except OSError:
        return False
    return True


def processes(daemon: Daemon, word: str) -> list[int]:
    """The processes under a program that have a word in their command line."""
    if daemon.process is None:
        return []
    return [pid for pid in descendants(daemon.process.pid) if word.encode() in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return b""
