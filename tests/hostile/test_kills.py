"""kill -9 of whatever the service consists of, at random moments of real jobs: every accepted job ends."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import torch

from coppice.settings import Settings
from tests.hostile.case import QUERY, pytorch
from tests.serving import DONE, POLL_SECONDS, Service, kill, serving

pytestmark = pytest.mark.slow

JOBS = 8
#: Longer than a worker's start and shorter than eight jobs: the kills meet starts, runs and ends.
LONGEST_PAUSE_SECONDS = 4.0


def children(service: Service, word: str) -> list[int]:
    """The processes of a running service that have a word in their command line."""
    task = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    found = map(int, task.read_text().split()) if task.exists() else []
    return [pid for pid in found if word.encode() in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return b""


def victims(service: Service, chance: random.Random) -> list[int]:
    """What to kill next: both workers, the HTTP process, or the one that keeps them."""
    parts = {
        "worker": children(service, "coppice.jobs.worker"),
        "http": children(service, "coppice.http"),
        "supervisor": [service.process.pid],
    }
    return parts[chance.choice([*parts])]


class Restarted:
    """A service that is started again whenever it has been killed."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._services: list[Service] = []

    @property
    def starts(self) -> int:
        return len(self._services)

    def service(self) -> Service:
        """The service once it answers; what was killed a moment ago may still have to notice."""
        while True:
            if not self._services or self._services[-1].process.poll() is not None:
                self._services.append(self._stack.enter_context(serving(self._settings)))
            with suppress(httpx.TransportError):
                self._services[-1].client.get("/healthz")
                return self._services[-1]
            time.sleep(POLL_SECONDS)

    def send(self) -> str:
        """Submit a job; a call that was cut off was not accepted, so it is made again."""
        while True:
            with suppress(httpx.TransportError):
                return str(self.service().post("pt_prune", QUERY, pytorch()).json()["txid"])


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    with ExitStack() as stack:
        # Six starts for a job: here it is killed by others, and three could be had by bad luck.
        yield Restarted(Settings(data_dir=tmp_path / "data", port=0, workers=2, max_attempts=6), stack)


def test_every_accepted_job_ends_done_or_with_a_reason(restarted: Restarted) -> None:
    chance = random.Random(4)  # kills the workers four times, the rest twice
    accepted = []
    for _ in range(JOBS):
        accepted.append(restarted.send())
        time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))  # a random moment is what is wanted
        for pid in victims(restarted.service(), chance):
            kill(pid)
    service = restarted.service()
    ends = {txid: service.end(txid) for txid in accepted}
    assert {end.get("code") for end in ends.values()} <= {None, "worker_died"}, ends
    done = [txid for txid, end in ends.items() if end["status"] == DONE]
    assert len(done) >= JOBS // 2
    for txid in done:
        answer = service.client.get("/api/download", params={"txid": txid, "artifact": "state_dict"})
        assert torch.load(io.BytesIO(answer.content))["conv.weight"].shape == (3, 1, 3, 3)
    assert list((service.settings.data_dir / "store" / "uploads").rglob("*.pth")) == []
    assert restarted.starts > 1, "the seed kills no supervisor: take another"
