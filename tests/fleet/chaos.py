"""kill -9 of whatever a service consists of, at random moments, while its clients send; and what must hold after it."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import h5py
import sqlalchemy as sa
import torch

from coppice.jobs.database import open_database
from coppice.jobs.sweep import sweep_store
from coppice.storage import Storage
from coppice.storage.keys import is_txid
from tests.fleet.daemon import Daemon
from tests.fleet.fleet import Client, Fleet, processes, until
from tests.hostile.case import QUERY, pytorch
from tests.keras_h5 import dense, sequential
from tests.serving import DONE, Files

#: What a client may be told of a job that was killed too often, or whose files or row could not be written.
REASONS = {"worker_died", "storage_unavailable", "database_unavailable"}

#: Longer than what most kills interrupt, shorter than what follows it: kills meet starts, runs, ends and recoveries.
LONGEST_PAUSE_SECONDS, LONGEST_OUTAGE_SECONDS = 4.0, 4.0

#: Every time that a job is given a result, by the database itself: nothing of ours could count wrongly.
_COUNTER = "CREATE TRIGGER counted AFTER UPDATE OF filename, artifacts, finished ON jobs"
_COUNTED = {
    "sqlite": (f"{_COUNTER} WHEN NEW.filename IS NOT NULL BEGIN INSERT INTO published VALUES (NEW.txid); END",),
    "postgresql": (
        """CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO published VALUES (NEW.txid); RETURN NEW; END $$""",
        f"{_COUNTER} FOR EACH ROW WHEN (NEW.filename IS NOT NULL) EXECUTE FUNCTION count_it()",
    ),
}


def count_publications(running: Fleet) -> None:
    """Have the database count every publication from now on."""
    engine = open_database(running.settings)
    with engine.begin() as connection:
        for statement in ("CREATE TABLE published (txid TEXT)", *_COUNTED[engine.dialect.name]):
            connection.execute(sa.text(statement))
    engine.dispose()


@contextmanager
def kept_running(programs: Sequence[Daemon]) -> Iterator[None]:
    """Start a program again soon after its end, as whatever runs a fleet does."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.5):
            for daemon in programs:
                daemon.launch()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


@dataclass(frozen=True)
class Storm:
    """Ways to hurt a service, by name."""

    running: Fleet
    chance: random.Random

    def kills(self) -> Mapping[str, Callable[[], None]]:
        """Each by its name; the servers are started again before it returns."""
        return {
            "worker": lambda: self._one("coppice.jobs.worker"),
            "http": lambda: self._one("coppice.http"),
            "machine": lambda: self.chance.choice(self.running.workers).kill(),
            "api": lambda: self.chance.choice([*self.running.apis.values()]).kill(),
            "both": self._both,
            "supervisor": self._supervisor,
            "postgres": lambda: self._outage(self.running.database),
            "s3": lambda: self._outage(self.running.storage),
        }

    def _one(self, word: str) -> None:
        found = [pid for daemon in self.running.programs for pid in processes(daemon, word)]
        if found:
            _end(self.chance.choice(found))

    def _both(self) -> None:
        self.chance.choice(self.running.workers).kill()
        self.chance.choice([*self.running.apis.values()]).kill()

    def _supervisor(self) -> None:
        # Alone: what it keeps must go with it by itself.
        daemon = self.chance.choice(self.running.programs)
        if daemon.process is not None and daemon.process.poll() is None:
            _end(daemon.process.pid)

    def _outage(self, server: Any) -> None:
        server.kill()
        time.sleep(self.chance.uniform(0.5, LONGEST_OUTAGE_SECONDS))
        server.start()


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def send_through(running: Fleet, clients: Sequence[Client], jobs: int, blows: Sequence[str], seed: int) -> list[str]:
    """Have the clients send jobs while the blows fall, each at a random moment; every accepted transaction.

    When this returns, all have ended, and the results were looked at.
    """
    chance = random.Random(seed)
    kills = Storm(running, chance).kills()
    order = chance.sample(blows, len(blows))
    plans = [
        [(chance.uniform(0, LONGEST_PAUSE_SECONDS), _kind(chance)) for _ in range(jobs // len(clients))]
        for _ in clients
    ]

    def send(client: Client, plan: Sequence[tuple[float, Kind]]) -> list[tuple[Kind, str]]:
        sent = []
        for pause, kind in plan:
            time.sleep(pause)  # a random moment is what is wanted
            sent.append((kind, client.submit(kind.call, kind.query, kind.files())))
        return sent

    with kept_running(running.programs), ThreadPoolExecutor(len(clients)) as sending:
        accepted = [sending.submit(send, client, plan) for client, plan in zip(clients, plans, strict=True)]
        for blow in order:
            time.sleep(chance.uniform(0.5, LONGEST_PAUSE_SECONDS))
            kills[blow]()
        # Nothing is killed from here on, but what was killed last may not be back yet.
        sent = [(client, *job) for client, future in zip(clients, accepted, strict=True) for job in future.result()]
        for client, kind, txid in sent:
            check_end(client, txid, kind)
    return [txid for _client, _kind, txid in sent]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A small job, and what its result must be."""

    call: str
    query: Mapping[str, str]
    files: Callable[[], Files]
    artifact: str
    is_right: Callable[[bytes], bool]


TORCH = Kind(
    call="pt_prune",
    query=QUERY,
    files=pytorch,
    artifact="state_dict",
    is_right=lambda content: torch.load(io.BytesIO(content))["conv.weight"].shape == (3, 1, 3, 3),
)


def _kernel(content: bytes) -> tuple[int, ...]:
    with h5py.File(io.BytesIO(content)) as file:
        shape: tuple[int, ...] = file["model_weights/dense/dense/kernel:0"].shape
        return shape


_LAYERS = (dense("dense", 4, 8, "relu"), dense("last", 8, 2, "softmax"))
#: Half the work of the other: nothing of the user's runs in it, so that there is nothing to clean.
KERAS = Kind(
    call="tf_prune",
    query={"percent": "0.5"},
    files=lambda: {
        "model": ("small.h5", sequential([dense("dense", 4, 8, "relu"), dense("last", 8, 2, "softmax")], (4,)))
    },
    artifact="model",
    is_right=lambda content: _kernel(content) == (4, 4),
)


def _kind(chance: random.Random) -> Kind:
    return chance.choice((TORCH, KERAS, KERAS))


def check_end(client: Client, txid: str, kind: Kind = TORCH) -> None:
    """A job has ended: with a result that loads, or with one of the reasons that there may be."""
    end = client.end(txid)
    if end["status"] == DONE:
        answer = client.download(txid, kind.artifact)
        assert answer.status_code == 200, answer.text
        assert kind.is_right(answer.content)
    else:
        assert end["code"] in REASONS, end


def check_books(running: Fleet, txids: Sequence[str]) -> int:
    """No job but those that clients were told of; each published once, by one attempt. How many were."""
    engine = open_database(running.settings)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT txid, filename, attempts, finished FROM jobs")).all()
        times = Counter(connection.execute(sa.text("SELECT txid FROM published")).scalars())
    engine.dispose()
    assert {row.txid for row in rows} == set(txids)
    assert all(row.finished is not None for row in rows)
    done = {row.txid for row in rows if row.filename is not None}
    assert times == dict.fromkeys(done, 1)
    return len(done)


def check_files(running: Fleet) -> None:
    """There is no file but the results that were published: of no upload, and of no attempt that was overtaken.

    A round of the sweep comes first. Workers make one every ten minutes and leave alone what is new; this one is of a
    day when nothing is.
    """
    engine, environment = open_database(running.settings), running.storage.environment if running.storage else {}
    later = datetime.now(UTC) + timedelta(seconds=2 * running.settings.uploads_seconds)
    with mock.patch.dict(os.environ, environment):
        asyncio.run(sweep_store(running.settings, engine, Storage(running.settings), now=later))
    with engine.connect() as connection:
        table = sa.table("jobs", sa.column("artifacts", sa.JSON), sa.column("filename"))
        found = connection.execute(sa.select(table.c.artifacts).where(table.c.filename.is_not(None))).scalars()
        published = {artifact["key"] for artifacts in found for artifact in artifacts}
    engine.dispose()
    until(lambda: running.objects() == published, "only results to be left")


def scratch(running: Fleet) -> list[str]:
    """What is left of jobs in the workers' own folders: a job's is named after it, and its sandbox gets its request."""
    own = [path for path in running.folder.glob("*/work/*/*") if is_txid(path.name)]
    return [str(path) for path in (*own, *running.folder.glob("*/work/*/boxes/**/request.json"))]
