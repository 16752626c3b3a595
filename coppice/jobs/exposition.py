"""Metrics as Prometheus reads them: what the processes counted, and what the database says now.

`python -m coppice.jobs.exposition` serves them by itself, with /healthz, on `metrics_port`: `coppice work` starts it.
Not here: what is counted (`jobs.metrics`), and who may read it on the port of the API (`http.health`).
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from coppice import logs
from coppice.errors import DatabaseUnavailable, ServiceUnavailable
from coppice.jobs.metrics import OWN, folder
from coppice.settings import Settings, load
from coppice.version import __version__

if TYPE_CHECKING:
    from coppice.jobs.queue import Depth  # the workers' own server has no use for the queue

_log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST

#: How long the database's answer is shown again, seconds: several that scrape are no load.
_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the database says of the whole service at this moment."""

    queues: Mapping[str, Depth]
    executors: Mapping[str, int]
    webhooks: int


class Exposition:
    """The text of all metrics; safe to use from several threads."""

    def __init__(
        self, settings: Settings, look: Callable[[], Now] | None = None, *, isolation: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder(settings)
        self._here = _Here(look, isolation)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self._here)
        ProcessCollector(registry=registry)
        if self._folder.is_dir():
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(registry) + generate_latest(OWN)


class _Here(Collector):
    """What is not counted but looked up."""

    def __init__(self, look: Callable[[], Now] | None, isolation: Mapping[str, str] | None) -> None:
        self._look = look
        self._isolation = isolation
        self._seen: Now | None = None
        self._at = -_FRESH_SECONDS
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """Facts of this service, and of the database where it answers."""
        yield _info("coppice_build_info", "The version", {"version": __version__})
        if self._isolation is not None:
            yield _info("coppice_isolation_info", "What contains the jobs", self._isolation)
        if self._look is None:
            return
        now = self._now(self._look)
        up = GaugeMetricFamily("coppice_database_up", "Whether the database answers", value=0 if now is None else 1)
        yield up
        if now is not None:
            yield from _gauges(now)

    def _now(self, look: Callable[[], Now]) -> Now | None:
        with self._lock:
            if time.monotonic() - self._at >= _FRESH_SECONDS:
                try:
                    self._seen = look()
                except DatabaseUnavailable:
                    self._seen = None
                self._at = time.monotonic()
            return self._seen


def _gauges(now: Now) -> Iterable[Metric]:
    jobs = GaugeMetricFamily("coppice_queue_jobs", "Jobs that wait or run", labels=("queue", "state"))
    oldest = GaugeMetricFamily("coppice_queue_oldest_seconds", "Age of the job that waits longest", labels=("queue",))
    for queue, standing in now.queues.items():
        jobs.add_metric((queue, "queued"), standing.queued)
        jobs.add_metric((queue, "running"), standing.running)
        age = 0.0 if standing.oldest is None else (datetime.now(UTC) - standing.oldest).total_seconds()
        oldest.add_metric((queue,), max(0.0, age))
    executors = GaugeMetricFamily("coppice_executors", "Worker processes with a sign of life", labels=("queue",))
    for queue, number in now.executors.items():
        executors.add_metric((queue,), number)
    yield from (jobs, oldest, executors)
    yield GaugeMetricFamily("coppice_webhooks_due", "Completions that somebody is still to be told", value=now.webhooks)


def _info(name: str, text: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), 1)
    return family


def listen(settings: Settings, exposition: Exposition) -> ThreadingHTTPServer:
    """Serve /metrics and /healthz on `metrics_port`, without keys, by threads of its own; raises ServiceUnavailable."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            answers = {"/metrics": (CONTENT_TYPE, exposition.text), "/healthz": ("application/json", _healthy)}
            found = answers.get(self.path.partition("?")[0])
            kind, body = (found[0], found[1]()) if found else ("text/plain", b"/metrics or /healthz\n")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """A scrape every few seconds is no news."""

    try:
        server = ThreadingHTTPServer((settings.host, settings.metrics_port or 0), Handler)
    except OSError as e:
        raise ServiceUnavailable(
            f"Can't listen on port {settings.metrics_port} of {settings.host}: {e.strerror}."
            " Choose another with --metrics-port."
        ) from e
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def _healthy() -> bytes:
    return b'{"status":"ok"}'


def main() -> int:
    """Serve the metrics of the worker processes beside this one, until told to stop."""
    settings = load()
    logs.set_up(settings, "metrics")
    try:
        server = listen(settings, Exposition(settings))
    except ServiceUnavailable as e:
        _log.error("%s", e.message)  # a refusal, not a fault of ours
        return e.exit_code
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    signal.sigwait(stop)
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
