"""What machines ask of the service: is it alive, is it ready, how does it go."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from sqlalchemy.orm import Session

from coppice.jobs import executors, metrics
from coppice.jobs.desk import Desk
from coppice.jobs.tables import ExecutorRow
from coppice.settings import Settings
from coppice.version import __version__
from tests.hostile.case import QUERY, pytorch
from tests.http.process import api_process
from tests.http.service import served
from tests.serving import serving

ROOT = Path(__file__).parents[2]

LOGGING = """
import logging
from coppice import logs
from coppice.settings import Settings
logs.set_up(Settings(log_format="json"), "worker cpu 0")
with logs.about(txid="t-1"):
    logging.getLogger("coppice.x").warning("%s is\\nlate", "it")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("coppice").exception("fault")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, tls=False)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels -> value, as Prometheus's own parser reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_health_tells_the_version_and_what_contains_the_jobs(settings: Settings) -> None:
    answer = served(settings).get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": __version__, "isolation": None}


def test_a_service_whose_database_answers_is_ready(settings: Settings) -> None:
    answer = served(settings).get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "missing": []})


def test_a_service_without_its_tables_is_not_ready(settings: Settings) -> None:
    client = served(settings)
    for file in settings.data_dir.glob("coppice.sqlite*"):
        file.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["database"])


def test_an_old_database_is_not_ready(settings: Settings) -> None:
    client = served(settings)
    desk = Desk(settings)
    with desk.look._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE coppice_version SET version_num = '0001'")
    assert client.get("/readyz").json()["missing"] == ["database"]


def test_metrics_are_for_this_machine_only(settings: Settings) -> None:
    client = served(settings)
    assert client.get("/metrics").status_code == 200
    forwarded = client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
    assert (forwarded.status_code, forwarded.json()["code"]) == (404, "unknown_address")


def test_metrics_tell_the_queues(settings: Settings) -> None:
    seen = samples(served(settings).get("/metrics").text)
    assert seen["coppice_build_info", (("version", __version__),)] == 1
    assert seen["coppice_queue_jobs", (("queue", "cpu"), ("state", "queued"))] == 0
    assert seen["coppice_database_up", ()] == 1


def test_a_worker_that_is_silent_is_not_counted(settings: Settings) -> None:
    client, desk = served(settings), Desk(settings)
    with Session(desk.look._engine) as session, session.begin():
        for name in ("cpu-0", "cpu-1"):
            executors.join(session, executor=name, queue="cpu", host="here")
        session.execute(
            update(ExecutorRow)
            .where(ExecutorRow.id == "cpu-1")
            .values(seen=datetime.now(UTC) - timedelta(seconds=settings.dead_after_seconds + 1))
        )
    assert samples(client.get("/metrics").text)["coppice_executors", (("queue", "cpu"),)] == 1


def test_no_label_is_made_of_what_a_stranger_sends(settings: Settings) -> None:
    client = served(settings)
    before = set(samples(client.get("/metrics").text))
    for path in ("/secret-guess-1", "/api/secret-guess-2", "/docs/secret-guess-3"):
        client.get(path)
    assert "secret-guess" not in client.get("/metrics").text
    new = {labels for name, labels in set(samples(client.get("/metrics").text)) - before if name.endswith("_total")}
    assert all(dict(labels).get("route") in ("other", "/docs", "/metrics", None) for labels in new)


@pytest.mark.slow
def test_counts_of_several_processes_are_added_up_and_outlive_them(settings: Settings, tmp_path: Path) -> None:
    counting = """
import sys
from datetime import UTC, datetime
from coppice.jobs import metrics
from coppice.settings import load
metrics.open_metrics(load(), sys.argv[1])
metrics.job_ended({"task": "prune", "framework": "keras"}, "out_of_memory", datetime.now(UTC))
"""
    metrics.clean(settings)
    for name in ("worker-cpu-0", "worker-cpu-1", "worker-cpu-0"):
        subprocess.run([sys.executable, "-c", counting, name], check=True, cwd=ROOT, env=settings.environment())
    seen = samples(served(settings).get("/metrics").text)
    labels = (("framework", "keras"), ("outcome", "out_of_memory"), ("task", "prune"))
    assert seen["coppice_jobs_total", labels] == 3
    assert seen["coppice_sandbox_verdicts_total", (("verdict", "memory"),)] == 3
    assert len(list(metrics.folder(settings).iterdir())) == 6  # a process that starts again makes no new files


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_ends_its_calls_and_says_so(settings: Settings) -> None:
    """An upload is under way while SIGTERM comes: it is finished, and /readyz says meanwhile that it is over."""
    with api_process(settings) as api:
        body = b'--b\r\nContent-Disposition: form-data; name="model"; filename="net.h5"\r\n\r\n'
        rest = b"not a model, but it came whole\r\n--b--\r\n"
        upload = api.connect()
        head = (
            "POST /api/tf_prune?percent=0.5 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body + rest)}\r\n\r\n"
        )
        upload.sendall(head.encode() + body)
        _until_counted(api.url)
        _signal(api.pid, signal.SIGTERM)
        with httpx.Client(base_url=api.url, timeout=10) as client:
            deadline = time.monotonic() + 8
            while (answer := client.get("/readyz")).status_code == 200 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert (answer.status_code, answer.json()["status"]) == (503, "draining")
        upload.sendall(rest)
        assert b"Successfully submitted" in _all(upload)


def _until_counted(url: str) -> None:
    """Until the server has read the head of the upload: it then shows one call more than this one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if 'coppice_calls_under_way{kind="uploads"} 1.0' in httpx.get(f"{url}/metrics").text:
            return
        time.sleep(0.05)
    raise AssertionError("no upload was seen under way")


def _signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


def _all(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found or b"}" not in found:
        chunk = connection.recv(65536)
        if not chunk:
            break
        found += chunk
    connection.close()
    return found


@pytest.mark.slow
def test_a_log_of_json_is_json_line_by_line(settings: Settings) -> None:
    given = settings.model_copy(update={"log_format": "json", "tls": True})
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("coppice")), "serve"],
        env={**given.environment(), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    watched = threading.Timer(90, process.kill)
    watched.start()
    try:
        for line in process.stdout:
            if "listens on" in line:
                break
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    finally:
        watched.cancel()
    for line in errors.splitlines():
        assert {"time", "level", "logger", "process", "message"} <= json.loads(line).keys()
    assert process.returncode == 0, errors


def test_a_json_line_says_what_it_is_about() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            LOGGING,
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stderr
    first, second = (json.loads(line) for line in said.splitlines())
    assert (
        first.items()
        >= {"level": "warning", "process": "worker cpu 0", "message": "it is\nlate", "txid": "t-1"}.items()
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])
    assert "txid" not in second
    assert "ZeroDivisionError" in second["exception"]


@pytest.mark.slow
def test_the_metrics_of_workers_have_a_port_of_their_own(settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = settings.model_copy(update={"metrics_port": port})
    metrics.clean(given)
    process = subprocess.Popen([sys.executable, "-m", "coppice.jobs.exposition"], cwd=ROOT, env=given.environment())
    try:
        check = [sys.executable, "deploy/healthcheck.py", f"http://127.0.0.1:{port}/healthz"]
        deadline = time.monotonic() + 60
        while subprocess.run(check, cwd=ROOT, check=False).returncode != 0:
            assert time.monotonic() < deadline
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert samples(text)["coppice_build_info", (("version", __version__),)] == 1
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert subprocess.run(check, cwd=ROOT, check=False).returncode == 1


@pytest.mark.slow
def test_a_service_whose_store_does_not_answer_says_so_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes connections and never answers: readiness has 2 s for each part, whatever the client waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with api_process(settings.model_copy(update={"storage_url": "s3://bucket"})) as api:
            begun = time.monotonic()
            answer = httpx.get(f"{api.url}/readyz", timeout=60)
            passed = time.monotonic() - begun
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "missing": ["storage"]})
    assert passed < 20  # 2 s, and what a busy machine adds


@pytest.mark.slow
def test_the_service_tells_what_its_workers_did(tmp_path: Path) -> None:
    """One job that ends well and one that doesn't, through the real sandbox, as Prometheus sees them."""
    good, bad = pytorch(), pytorch(weights=b"neither a zip nor a pickle")
    with serving(Settings(data_dir=tmp_path / "data", port=0)) as service:
        txids = [service.post("pt_prune", QUERY, files).json()["txid"] for files in (good, bad)]
        ends = [service.end(txid) for txid in txids]
        seen = samples(service.client.get("/metrics").text)
        health = service.client.get("/healthz").json()
    assert [end["status"] for end in ends] == [0, -1]
    for outcome in ("done", ends[1]["code"]):
        assert seen["coppice_jobs_total", (("framework", "pt"), ("outcome", outcome), ("task", "prune"))] == 1
    assert seen["coppice_job_starts_total", (("queue", "cpu"),)] == 2
    assert seen["coppice_job_wait_seconds_count", (("queue", "cpu"),)] == 2
    calls = (("method", "POST"), ("route", "/api/pt_prune"), ("status", "200"))
    assert seen["coppice_http_requests_total", calls] == 2
    assert seen["coppice_http_bytes_total", (("direction", "in"),)] > len(good["weights"][1])
    assert health["isolation"]["level"] in ("A", "B", "C")
    assert not any(txid in str(key) for txid in txids for key in seen)
