"""Real jobs in the real sandbox of a real service, under kill -9 of each of its processes."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import torch

from coppice.settings import Settings
from tests.hostile.case import QUERY, running
from tests.jobs.job_processes import children, until
from tests.serving import DONE, Service, kill, processes, serving

pytestmark = pytest.mark.slow

RUNNING = 2

#: A model that takes its time to build, so that there is a middle to be killed in.
slow_model = running(top="import time", constructor="time.sleep(2)")


def test_whatever_is_killed_every_job_is_done_and_no_process_is_left(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, tls=False, warm=0)
    with serving(settings) as service:
        first = submit(service)
        until(lambda: service.status(first)["status"] == RUNNING, "the first job to run")
        for pid in children(service.process.pid):  # HTTP and the worker, with the job in hand
            kill(pid)
        with suppress(httpx.TransportError):  # a connection that the killed process had taken, if there is one
            service.status(first)
        assert service.end(first)["status"] == DONE

        second = submit(service)
        until(lambda: service.status(second)["status"] == RUNNING, "the second job to run")
        kill(service.process.pid)
        service.process.wait()
        until(lambda: not processes(service.token), "every process of the service and of the job to die")
    with serving(settings) as service:
        assert service.end(second)["status"] == DONE
        for txid in (first, second):
            result = service.client.get("/api/download", params={"txid": txid, "artifact": "state_dict"}).content
            assert torch.load(io.BytesIO(result))["conv.weight"].shape[0] == 3
            # The killed attempt published nothing: all that there is comes from the one that ended.
            assert len(list((settings.data_dir / "store" / "results" / txid).iterdir())) == 1


def submit(service: Service) -> str:
    answer = service.post("pt_prune", QUERY, slow_model())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["txid"])
