"""The main job on real input: train, send, watch, download, load, retrain, compare.

    python -m examples.demo [flags of `coppice serve`, e.g. --isolation none]

Trained models stay in .demo/, so that a second run takes seconds to start.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from coppice.records.report import Report
from examples.demo import digits
from examples.demo.jobs import KERAS, PYTORCH, ROOT, Job
from examples.demo.service import console, curl, service
from examples.demo.table import comparison

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
            results = _through_the_service(url, folders)
        for job, folder, (file, report) in zip(JOBS, folders, results, strict=True):
            command = shlex.join(["python", *job.call(job.retrain, FILE=file.name)])
            console.print(f"[dim]$ {escape(command)}[/]")
            with console.status(f"loading {file.name} with the user's framework alone, and retraining it"):
                given, retrained = job.retrained(folder, file.name)
            console.print(comparison(job.title, report, job.accuracy(folder), given, retrained))
    console.print(f"results: {', '.join(str(file.relative_to(ROOT)) for file, _ in results)}")


def _through_the_service(url: str, folders: list[Path]) -> list[tuple[Path, Report]]:
    txids = []
    for job, folder in zip(JOBS, folders, strict=True):
        answer = curl(*job.call(job.submit, URL=url), folder=folder)
        if answer.get("txid") in (None, "N/A"):
            sys.exit(f"refused: {answer.get('message')}")
        txids.append(answer["txid"])
    names = _watched(url, txids, folders)
    results = []
    for job, folder, txid, name in zip(JOBS, folders, txids, names, strict=True):
        curl(*job.call(job.download, URL=url, TXID=txid, FILE=name), folder=folder)
        report = curl("-k", f"{url}/api/download?txid={txid}&artifact=report", folder=folder, show=False)
        results.append((folder / name, Report.model_validate(report)))
    return results


def _watched(url: str, txids: list[str], folders: list[Path]) -> list[str]:
    """Look at the jobs until all are done; the names of their results."""
    columns = TextColumn("{task.description:<45}"), BarColumn(), TextColumn("{task.fields[message]}")
    names: dict[str, str] = {}
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks = [bars.add_task(job.title, total=1.0, message="") for job in JOBS]
        while len(names) < len(JOBS):
            for job, folder, txid, task in zip(JOBS, folders, txids, tasks, strict=True):
                if txid not in names and (name := _look(url, job, folder, txid, bars, task)):
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
