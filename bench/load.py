"""A mixed load on a service, and a soak: `python bench/load.py [--fleet | --url URL] [--jobs N] [--soak] [--write]`.

Clients send small Keras files, small PyTorch models and some of 200 MB, each its next as soon as the last has ended,
and download what came of it. Printed: jobs in a second, how long accepting and completing took, memory of each process
over time. `--soak` sends tiny jobs only, with short retentions, and shows memory, files and rows over time: after the
last retention there must be nothing left of the jobs. `--write` keeps the figures in bench/results/load.json, from
which bench/load.md is made.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402
import torch  # noqa: E402

from coppice.jobs.database import database_url  # noqa: E402
from tests.fleet.daemon import descendants  # noqa: E402
from tests.fleet.fleet import Client, Fleet, embedded, fleet  # noqa: E402
from tests.hostile.case import QUERY, pytorch  # noqa: E402
from tests.keras_h5 import DOCUMENTS_MODEL, sequential  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "load.json"
TABLE = ROOT / "bench" / "load.md"

#: Two layers of 5,000 x 5,000 floats: 200 MB.
LARGE_CLASS = b"""\
from torch import nn


class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5000, 5000)
        self.fc2 = nn.Linear(5000, 5000)

    def forward(self, x):
        return self.fc2(self.fc1(x).relu())
"""
#: What the soak waits after a job's end: less than it takes, so that most of what there is has to go while it runs.
SOAK = {"retention_seconds": 30, "record_seconds": 60, "audit_seconds": 60}
SAMPLE_SECONDS = 5.0
#: Clients come one after the other in so many seconds, not all at one moment: that would be most of what p95 shows.
ARRIVAL_SECONDS = 10.0
#: Our processes by their command line; whatever else is under them is a sandbox.
KINDS = {"coppice.http": "http", "coppice.jobs.worker": "worker", "coppice.jobs.exposition": "metrics"}


@dataclass(frozen=True, kw_only=True)
class Model:
    kind: str
    call: str
    query: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Done:
    kind: str
    accept: float
    complete: float
    status: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The service at a moment: PSS by process, MiB; files; rows by table."""

    at: float
    memory: Mapping[str, float]
    files: int
    rows: Mapping[str, int]


def models(*, large: bool) -> dict[str, Model]:
    found = {
        "small .h5": Model(
            kind="small .h5",
            call="tf_prune",
            query={"percent": "0.4"},
            files={"model": ("net.h5", sequential(DOCUMENTS_MODEL, (28, 28, 1)))},
        ),
        "small .pth": Model(kind="small .pth", call="pt_prune", query=QUERY, files=pytorch()),
    }
    if large:
        buffer = io.BytesIO()
        # Random, not zeros: a store or a wire that compresses would flatter.
        shapes = {
            f"fc{n}.{what}": shape for n in (1, 2) for what, shape in (("weight", (5000, 5000)), ("bias", (5000,)))
        }
        torch.save({name: torch.randn(shape) for name, shape in shapes.items()}, buffer)
        parts = {"weights": ("large.pth", buffer.getvalue()), "class_def": ("large.py", LARGE_CLASS)}
        query = {"percent": "0.5", "input_size": "5000", "model_name": "Large"}
        found["200 MB .pth"] = Model(kind="200 MB .pth", call="pt_prune", query=query, files=parts)
    return found


def one(client: Client, model: Model) -> Done:
    begun = time.perf_counter()
    txid = client.submit(model.call, model.query, dict(model.files))
    accepted = time.perf_counter()
    while True:
        told = client.call("GET", "/api/status/", params={"txid": txid, "wait": "20"}).json()
        if told["status"] <= 0:
            break
    ended = time.perf_counter()
    if told["status"] == 0:
        artifact = "model" if model.call == "tf_prune" else "state_dict"
        answer = client.download(txid, artifact)
        if answer.status_code != 200:
            raise AssertionError(f"{txid} is done and its {artifact} can't be had: {answer.text[:300]}")
    else:
        print(f"{model.kind} ended with {told['status']}: {told['message'][:300]}", file=sys.stderr)
    return Done(kind=model.kind, accept=accepted - begun, complete=ended - accepted, status=told["status"])


class Watch:
    """Samples a service that was started here, in a thread."""

    def __init__(self, running: Fleet) -> None:
        self.samples: list[Sample] = []
        self._running = running
        self._engine = sa.create_engine(database_url(running.settings))
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._engine.dispose()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.samples.append(self.now())
            self._stop.wait(SAMPLE_SECONDS)

    def now(self) -> Sample:
        memory: dict[str, float] = {}
        processes = [daemon.process for daemon in self._running.programs]
        for process in processes:
            for name, mib in _memory(process.pid).items() if process else ():
                memory[name] = memory.get(name, 0.0) + mib
        return Sample(
            at=time.monotonic() - self._begun, memory=memory, files=len(self._running.objects()), rows=self._rows()
        )

    def _rows(self) -> dict[str, int]:
        schema = "dbos." if self._running.settings.fleet else ""
        tables = ("jobs", "webhooks", "audit", "executors", f"{schema}workflow_status", f"{schema}operation_outputs")
        with self._engine.connect() as connection:
            return {
                table: connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables
            }


def _memory(root: int) -> dict[str, float]:
    """PSS of a process and of all below it, MiB, by kind."""
    found: dict[str, float] = {}
    waiting = [(root, "supervisor")]
    while waiting:
        pid, kind = waiting.pop()
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            kind = next((short for word, short in KINDS.items() if word in command), kind)
            match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            found[kind] = found.get(kind, 0.0) + (int(match[1]) / 1024 if match else 0.0)
            for task in Path(f"/proc/{pid}/task").iterdir():
                below = "supervisor" if kind == "supervisor" else "sandboxes"
                waiting += [(int(child), below) for child in (task / "children").read_text().split()]
        except OSError:  # ended meanwhile
            continue
    return found


def load(client: Sequence[str], jobs: Sequence[Model], clients: int) -> tuple[float, list[Done]]:
    """Run all jobs; seconds, and what became of each."""
    turns = [Client(urls=[*client[n % len(client) :], *client[: n % len(client)]]) for n in range(clients)]
    begun = time.perf_counter()
    chance = random.Random(7)

    def share(mine: Sequence[Model], who: Client, start: float) -> list[Done]:
        time.sleep(start)
        return [one(who, job) for job in mine]

    with ThreadPoolExecutor(clients) as pool:
        shares = [
            pool.submit(share, jobs[n::clients], turns[n], chance.uniform(0, ARRIVAL_SECONDS)) for n in range(clients)
        ]
        done = [result for share in shares for result in share.result()]
    return time.perf_counter() - begun, done


def figures(seconds: float, done: Sequence[Done], samples: Sequence[Sample]) -> dict[str, Any]:
    kinds = sorted({job.kind for job in done})
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end, {platform.release()}",
        "jobs": len(done),
        "failed": sum(job.status != 0 for job in done),
        "seconds": round(seconds, 1),
        "per_second": round(len(done) / seconds, 2),
        "times": {
            kind: {
                what: [round(q, 3) for q in quantiles([getattr(job, what) for job in done if job.kind == kind])]
                for what in ("accept", "complete")
            }
            for kind in kinds
        },
        "samples": [
            {
                "at": round(sample.at),
                "memory": {name: round(mib) for name, mib in sorted(sample.memory.items())},
                "files": sample.files,
                "rows": dict(sample.rows),
            }
            for sample in [*samples[:: max(1, len(samples) // 12)], *samples[-1:]]  # as many as a table shows
        ],
    }


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The median, and what 95 of 100 stay below."""
    if len(values) < 2:
        return values[0], values[0]
    return statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1]


def show(name: str, found: Mapping[str, Any]) -> str:
    summary = (
        f"{found['date']}, {found['machine']}: {found['jobs']} jobs in {found['seconds']:.0f} s,"
        f" {found['per_second']} a second, {found['failed']} failed."
    )
    lines = [
        f"## {name}",
        "",
        summary,
        "",
        "| model | accept, median ms | p95 ms | complete, median s | p95 s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind, times in found["times"].items():
        accept, complete = times["accept"], times["complete"]
        lines.append(
            f"| {kind} | {accept[0] * 1000:.0f} | {accept[1] * 1000:.0f} | {complete[0]:.1f} | {complete[1]:.1f} |"
        )
    samples = found["samples"]
    if samples:
        names = sorted({name for sample in samples for name in sample["memory"]})
        lines += ["", f"| s | {' MiB | '.join(names)} MiB | files | jobs rows | queue rows |"]
        lines.append("| ---: |" + " ---: |" * (len(names) + 3))
        for sample in samples:
            memory = " | ".join(str(sample["memory"].get(name, 0)) for name in names)
            queue = sum(count for table, count in sample["rows"].items() if table.endswith("workflow_status"))
            lines.append(f"| {sample['at']} | {memory} | {sample['files']} | {sample['rows']['jobs']} | {queue} |")
    return "\n".join([*lines, ""])


@contextmanager
def service(given: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], Fleet | None]]:
    """The addresses to send to, and what was started for them."""
    changed: dict[str, Any] = dict(SOAK) if given.soak else {}
    changed |= {"jobs_per_client": 100_000, "uploads_per_client": 64}
    if given.url:
        yield [given.url], None
        return
    with fleet(folder, **changed) if given.fleet else embedded(folder, **changed) as running:
        yield list(running.apis), running


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a service that runs already; its processes are then not looked at")
    parser.add_argument("--fleet", action="store_true", help="PostgreSQL, S3, two APIs, two workers")
    parser.add_argument("--jobs", type=int, default=80)
    parser.add_argument("--large", type=int, default=4, help="how many of them are of 200 MB")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--soak", action="store_true", help="tiny jobs, short retentions, and what is left at the end")
    parser.add_argument("--write", action="store_true", help="keep the figures")
    given = parser.parse_args(arguments)
    # What was started here ends with this.
    signal.signal(signal.SIGTERM, _stop)
    large = 0 if given.soak else given.large
    kinds = models(large=large > 0)
    small = [kinds["small .pth"]] if given.soak else [kinds["small .h5"], kinds["small .pth"]]
    jobs = [small[n % len(small)] for n in range(given.jobs - large)] + [kinds["200 MB .pth"] for _ in range(large)]
    random.Random(6).shuffle(jobs)
    left: Sample | None = None
    with tempfile.TemporaryDirectory() as name, service(given, Path(name)) as (urls, running):
        for url in urls:
            Client(urls=[url]).call("GET", "/readyz")  # asks again until the answer is 200
        if running is None:
            seconds, done = load(urls, jobs, given.clients)
            samples: list[Sample] = []
        else:
            with Watch(running) as watch:
                seconds, done = load(urls, jobs, given.clients)
                if given.soak:
                    left = _until_empty(watch)
            samples = watch.samples
    found = figures(seconds, done, samples)
    title = f"{'Soak' if given.soak else 'Mixed load'}, {'a fleet' if given.fleet else given.url or 'one machine'}"
    print(show(title, found))
    if given.write:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps({**kept, title: found}, indent=1) + "\n")
        write()
    return 1 if found["failed"] or (left is not None and left.rows["jobs"]) else 0


def _stop(*_signal: object) -> None:
    """End what was started here, and this, without waiting for jobs that are under way."""
    print("stopped", file=sys.stderr)
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(143)


def _until_empty(watch: Watch) -> Sample:
    """Wait until nothing is left of the jobs, or for five times as long as that should take."""
    deadline = time.monotonic() + 5 * max(SOAK.values())
    while (now := watch.now()).rows["jobs"] or now.files:
        if time.monotonic() > deadline:
            print(f"left: {now}", file=sys.stderr)
            break
        time.sleep(SAMPLE_SECONDS)
    watch.samples.append(now)
    return now


def write() -> None:
    """Make bench/load.md of the figures that were kept."""
    head = (
        "# Load\n\n`python bench/load.py` made this. Eight clients send models of three kinds, each its next one when"
        " the last has ended and been\ndownloaded; they come within ten seconds; two workers. Times include the"
        " client's own, on the same cores."
        " Memory is PSS; `sandboxes` are the jobs and those started ahead.\n\n"
    )
    kept = json.loads(RESULTS.read_text())
    TABLE.write_text(head + "\n".join(show(title, found) for title, found in sorted(kept.items())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
