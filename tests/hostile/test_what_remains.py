"""After all of it: the service works, and nothing of the attacks is left. Sorted last, so that it runs last."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.case import QUERY, SETTINGS, pytorch
from tests.serving import DONE, POLL_SECONDS, Service, processes

pytestmark = pytest.mark.slow


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return holds()


@pytest.fixture
def all_ended(service: Service, sent: dict[str, tuple[int, dict[str, str]]]) -> None:
    for _, answer in sent.values():
        if answer["txid"] != "N/A":
            service.end(answer["txid"])


@pytest.mark.usefixtures("all_ended")
def test_an_ordinary_job_is_done_as_ever(service: Service) -> None:
    end = service.end(service.post("pt_prune", QUERY, pytorch()).json()["txid"])
    assert end["status"] == DONE, end["message"]
    assert re.search(r"Conv2d-1 +\[-1, 3, 6, 6\] +30\n", end["message"]), end["message"]


@pytest.mark.usefixtures("all_ended")
def test_no_upload_is_left_of_what_was_refused(service: Service) -> None:
    uploads = service.settings.data_dir / "store" / "uploads"
    assert eventually(lambda: list(uploads.rglob("*")) == []), list(uploads.rglob("*"))
    results = service.settings.data_dir / "store" / "results"
    assert {service.status(folder.name)["status"] for folder in results.iterdir()} <= {DONE}


@pytest.mark.usefixtures("all_ended")
def test_no_process_is_left_but_those_that_wait_for_the_next_job(service: Service) -> None:
    work = service.settings.data_dir / "work"

    def boxes() -> list[str]:
        return [str(box) for box in work.glob("*/boxes/*")]

    def all_wait() -> bool:
        inside = set().union(*(processes(box) for box in boxes()))
        return len(boxes()) == SETTINGS.workers and processes(f"{work}/") == inside

    assert eventually(all_wait), boxes()
    assert [box for box in boxes() if Path(box, "in").exists()] == [], "a box is used twice"


@pytest.mark.usefixtures("all_ended")
def test_the_log_holds_no_fault_of_ours_and_nothing_of_the_host(service: Service) -> None:
    log = service.log.read_text()
    assert "internal_error" not in log
    # What a job said is quoted; a traceback at the start of a line would be of the service itself.
    assert re.search(r"^Traceback", log, re.MULTILINE) is None
    assert re.search(r"^.*serve ERROR forged line", log, re.MULTILINE)[0].startswith("  | ")  # type: ignore[index]  # None fails, too
    assert "root:x:0:0" not in log
    assert "all work and no play" not in log


@pytest.mark.usefixtures("all_ended")
def test_the_service_was_never_restarted(service: Service) -> None:
    assert "starts again" not in service.log.read_text()
    os.kill(service.process.pid, 0)
