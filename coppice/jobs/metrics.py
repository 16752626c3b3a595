"""What the service counts of its jobs and calls, for Prometheus.

Every process counts into files of its own in `data_dir/metrics`; whoever shows them (`jobs.exposition`) adds them up.
A file carries the name of its process, not its number: one that starts again goes on in the same file, so that counts
survive it and the folder doesn't grow. Labels have few values, and none is a client, a key or a transaction.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from coppice.settings import Settings

_log = logging.getLogger(__name__)

#: Twice what all labels together can need, so that no file grows.
_FILE_BYTES = 256 * 1024

#: For processes that have opened no folder, as in tests.
OWN = CollectorRegistry()

_JOB_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)

_JOBS = Counter(
    "coppice_jobs",
    "Jobs that ended: done, cancelled, or a failure's code",
    ["task", "framework", "outcome"],
    registry=OWN,
)
_JOB_TIME = Histogram(
    "coppice_job_seconds",
    "Time of the attempt that ended the job",
    ["task", "framework", "outcome"],
    buckets=_JOB_SECONDS,
    registry=OWN,
)
_WAIT = Histogram(
    "coppice_job_wait_seconds", "From acceptance to the first start", ["queue"], buckets=_JOB_SECONDS, registry=OWN
)
_STARTS = Counter("coppice_job_starts", "Attempts at jobs, repeated ones too", ["queue"], registry=OWN)
_VERDICTS = Counter("coppice_sandbox_verdicts", "Jobs that the sandbox ended, by reason", ["verdict"], registry=OWN)
_CALLS = Counter("coppice_http_requests", "Calls answered", ["route", "method", "status"], registry=OWN)
_CALL_TIME = Histogram(
    "coppice_http_request_seconds",
    "From a call to the end of its answer, uploads and downloads included",
    ["route"],
    buckets=_CALL_SECONDS,
    registry=OWN,
)
_BYTES = Counter("coppice_http_bytes", "Bytes of bodies: in and out", ["direction"], registry=OWN)
_UNDER_WAY = Gauge(
    "coppice_calls_under_way", "Long calls under way, by kind", ["kind"], multiprocess_mode="sum", registry=OWN
)
_WEBHOOKS = Counter("coppice_webhook_deliveries", "Tries to deliver a webhook", ["outcome"], registry=OWN)

#: Code of a failure -> what the sandbox found.
VERDICTS: Mapping[str, str] = {
    "out_of_memory": "memory",
    "time_limit": "time",
    "disk_limit": "disk",
    "job_crashed": "crash",
    "worker_died": "worker_died",
}


def folder(settings: Settings) -> Path:
    """Where the processes of a service count."""
    return settings.data_dir.absolute() / "metrics"


def clean(settings: Settings) -> None:
    """Begin to count anew: called once, before the service's processes start."""
    shutil.rmtree(folder(settings), ignore_errors=True)


def open_metrics(settings: Settings, process: str) -> None:
    """Count in the service's folder from here on, under a name that no other process of it has meanwhile.

    Where the disk is full, this process counts in memory, and what it counts is not shown.
    """
    # The files' names are taken apart at underscores.
    name = process.replace("_", "-").replace(" ", "-")
    try:
        folder(settings).mkdir(parents=True, exist_ok=True)
        for kind in ("counter", "histogram", "gauge_sum"):
            _reserve(folder(settings) / f"{kind}_{name}.db")
    except OSError as e:
        _log.warning("no metrics of this process: %s", e.strerror)
        return
    for metric in (_JOBS, _JOB_TIME, _WAIT, _STARTS, _VERDICTS, _CALLS, _CALL_TIME, _BYTES, _UNDER_WAY, _WEBHOOKS):
        metric.clear()  # what was counted before, in memory
    # The library's own way to say where.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder(settings))
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]  # its documented hook


def _reserve(path: Path) -> None:
    """Make a file with its blocks: it is written through a memory map, where a full disk would kill the process."""
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)


def job_started(queue: str, submitted: datetime, attempt: int) -> None:
    """A worker has taken up a job."""
    _STARTS.labels(queue).inc()
    if attempt == 1:
        _WAIT.labels(queue).observe(max(0.0, (datetime.now(UTC) - submitted).total_seconds()))


def job_ended(request: Mapping[str, Any], outcome: str, started: datetime | None = None) -> None:
    """A job has ended: `done`, `cancelled`, or the code of its failure."""
    labels = (str(request.get("task", "prune")), str(request.get("framework", "")))
    _JOBS.labels(*labels, outcome).inc()
    if started is not None:
        kind = outcome if outcome in ("done", "cancelled") else "failed"
        _JOB_TIME.labels(*labels, kind).observe(max(0.0, (datetime.now(UTC) - started).total_seconds()))
    if outcome in VERDICTS:
        _VERDICTS.labels(VERDICTS[outcome]).inc()


def call_ended(route: str, method: str, status: int, seconds: float, *, received: int, sent: int) -> None:
    """A call was answered."""
    _CALLS.labels(route, method, str(status)).inc()
    _CALL_TIME.labels(route).observe(seconds)
    _BYTES.labels("in").inc(received)
    _BYTES.labels("out").inc(sent)


def under_way(kind: str, number: int) -> None:
    """So many calls of one kind are under way in this process."""
    _UNDER_WAY.labels(kind).set(number)


def webhook_tried(outcome: str) -> None:
    """A webhook was delivered, put off or given up."""
    _WEBHOOKS.labels(outcome).inc()
