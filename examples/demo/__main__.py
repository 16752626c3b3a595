"""The main job on real input: train, send, watch, download, load, retrain, quantize, run, compare.

    python -m examples.demo [flags of `coppice serve`, e.g. --isolation none]

Trained models stay in .demo/, so that a second run takes seconds to start.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from coppice.records.report import Report
from examples.demo import digits
from examples.demo.jobs import KERAS, PYTORCH, ROOT, Job
from examples.demo.service import console, curl, service
from examples.demo.table import Small, comparison

CACHE = ROOT / ".demo"
DATA = CACHE / "data"
JOBS = (KERAS, PYTORCH)


def main() -> None:
    """Run the demo; ends with a message when any part of it fails."""
    digits.write(DATA)
    folders = []
    for job in JOBS:
        with console.status(f"training the model of the document: {job.title}"):
            folders.append(job.trained(CACHE, DATA))
        for old in folders[-1].glob("tmp*"):  # results of earlier runs
            old.unlink()
    with tempfile.TemporaryDirectory(prefix="coppice-demo-") as scratch:
        with service(Path(scratch) / "service", sys.argv[1:]) as url:
            pruned = _through_the_service(url, [_Sent(job, folder) for job, folder in zip(JOBS, folders, strict=True)])
            # Of those whose runtime is there.
            lowered = _through_the_service(url, [result.sent for result in pruned if result.sent.job.runtime.exists()])
        quantized = {result.sent.job.title: result for result in lowered}
        for result in pruned:
            job, folder = result.sent.job, result.sent.folder
            with _saying(job.call(job.retrain, FILE=result.file), "with the user's framework alone, and retraining it"):
                given, retrained = job.retrained(folder, result.file)
            console.print(
                comparison(
                    job.title,
                    result.report,
                    job.accuracy(folder),
                    given,
                    retrained,
                    small=_run(quantized.get(job.title)),
                )
            )
    files = (str((result.sent.folder / result.file).relative_to(ROOT)) for result in (*pruned, *lowered))
    console.print(f"results: {', '.join(files)}")


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a user sends: the files of a folder, or the result of an earlier job."""

    job: Job
    folder: Path
    source: str | None = None  # txid of that job

    @property
    def call(self) -> tuple[str, ...]:
        return self.job.quantize if self.source else self.job.submit

    @property
    def title(self) -> str:
        return f"{self.job.title}, then int8" if self.source else self.job.title


@dataclass(frozen=True, slots=True)
class _Result:
    """What came back, and what would be sent to quantize it."""

    sent: _Sent
    file: str
    report: Report


def _run(result: _Result | None) -> Small | None:
    if result is None:
        return None
    job, folder = result.sent.job, result.sent.folder
    with _saying(job.call(job.run, FILE=result.file), "in its own runtime alone"):
        return Small(report=result.report, accuracy=job.lowered(folder, result.file))


@contextmanager
def _saying(command: list[str], how: str) -> Iterator[None]:
    console.print(f"[dim]$ {escape(shlex.join(['python', *command]))}[/]")
    with console.status(f"running {command[0]}: the file {how}"):
        yield


def _through_the_service(url: str, sent: list[_Sent]) -> list[_Result]:
    txids = []
    for one in sent:
        answer = curl(*one.job.call(one.call, URL=url, TXID=one.source or ""), folder=one.folder)
        if answer.get("txid") in (None, "N/A"):
            sys.exit(f"refused: {answer.get('message')}")
        txids.append(answer["txid"])
    names = _watched(url, txids, sent)
    results = []
    for one, txid, name in zip(sent, txids, names, strict=True):
        curl(*one.job.call(one.job.download, URL=url, TXID=txid, FILE=name), folder=one.folder)
        report = curl("-k", f"{url}/api/download?txid={txid}&artifact=report", folder=one.folder, show=False)
        results.append(_Result(_Sent(one.job, one.folder, txid), name, Report.model_validate(report)))
    return results


def _watched(url: str, txids: list[str], sent: list[_Sent]) -> list[str]:
    """Look at the jobs until all are done; the names of their results."""
    columns = TextColumn("{task.description:<45}"), BarColumn(), TextColumn("{task.fields[message]}")
    names: dict[str, str] = {}
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks = [bars.add_task(one.title, total=1.0, message="") for one in sent]
        while len(names) < len(sent):
            for one, txid, task in zip(sent, txids, tasks, strict=True):
                if txid not in names and (name := _look(url, one.job, one.folder, txid, bars, task)):
                    names[txid] = name
            time.sleep(0.2)
    return [names[txid] for txid in txids]


def _look(url: str, job: Job, folder: Path, txid: str, bars: Progress, task: TaskID) -> str | None:
    answer = curl(*job.call(job.status, URL=url, TXID=txid), folder=folder, show=False)
    number = int(answer["status"])
    if number < 0:
        sys.exit(f"{job.title}: {answer['message']}")
    if number == 0:
        bars.update(task, completed=1.0, message="done")
        return str(answer["filename"])
    bars.update(task, completed=_fraction(answer), message=answer["message"])
    return None


def _fraction(answer: dict[str, object]) -> float:
    progress = answer.get("progress")
    return float(progress["fraction"]) if isinstance(progress, dict) else 0.0


if __name__ == "__main__":
    main()
