"""What is no call of the contract, and our own faults: the same shapes, and nothing of the inside."""

from __future__ import annotations

import logging
from typing import NoReturn

import pytest

from coppice.errors import InternalError
from coppice.jobs.desk import Desk
from coppice.records.job import Job
from coppice.settings import Settings
from coppice.version import __version__
from tests.http.service import files_under, served

MODEL = {"model": ("net.h5", b"model")}


class BrokenDesk(Desk):
    """A desk whose database is gone."""

    def __init__(self, settings: Settings, error: Exception) -> None:
        super().__init__(settings)
        self._error = error

    def job(self, txid: str, client: str) -> Job:
        raise self._error

    def submit(self, **_given: object) -> NoReturn:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("/var/lib/secret.sqlite"), InternalError("row of /var/lib/secret")])
@pytest.mark.parametrize(
    ("address", "shape"),
    [("/api/status/", -1), ("/edgeai/run/api/status/", "-1"), ("/api/download", -1), ("/edgeai/run/api/download", -1)],
)
def test_our_own_fault_is_a_request_id_and_no_more(
    settings: Settings, caplog: pytest.LogCaptureFixture, error: Exception, address: str, shape: object
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = served(settings, BrokenDesk(settings, error)).get(address, params={"txid": "the-txid"})
    request_id = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert answer.json()["status"] == shape
    assert answer.json()["code"] == "internal_error"
    assert request_id in answer.json()["message"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    # The operator finds the cause by that id; the txid, which opens a result, is in no log.
    assert request_id in caplog.text
    assert "secret" in caplog.text
    assert "the-txid" not in caplog.text


def test_an_upload_that_could_not_be_accepted_leaves_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = served(settings, BrokenDesk(settings, RuntimeError("disk full")))
    answer = client.post("/api/tf_prune?percent=0.4", files=MODEL)
    assert (answer.status_code, answer.json()["txid"]) == (500, "N/A")
    assert files_under(settings.data_dir / "store") == [settings.data_dir / "store" / "uploads"]


@pytest.mark.parametrize(
    ("method", "address", "http_status", "code", "hint"),
    [
        ("GET", "/api/stauts", 404, "unknown_address", "/api/status/"),
        ("POST", "/api/tfprune", 404, "unknown_address", "/api/tf_prune"),
        ("GET", "/completely/else", 404, "unknown_address", "/docs"),
        ("GET", "/docs/assets/../../app.py", 404, "unknown_address", "/docs"),
        ("GET", "/api/tf_prune", 405, "method_not_allowed", "takes POST"),
        ("GET", "/edgeai/run/api/pt_prune/", 405, "method_not_allowed", "takes POST"),
        ("POST", "/api/status/", 405, "method_not_allowed", "takes GET"),
        ("DELETE", "/api/download", 405, "method_not_allowed", "takes GET"),
    ],
)
def test_what_is_no_call_is_refused_like_one(
    settings: Settings, method: str, address: str, http_status: int, code: str, hint: str
) -> None:
    answer = served(settings).request(method, address)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (http_status, code)
    assert hint in body["message"]
    assert ("txid" in body) == ("prune" in address and http_status == 405)
    assert ("allow" in answer.headers) == (http_status == 405)


def test_every_answer_has_an_id_of_its_own(settings: Settings) -> None:
    client = served(settings)
    ids = [client.get(path).headers["x-request-id"] for path in ("/healthz", "/healthz", "/nowhere", "/docs")]
    assert len(set(ids)) == 4


def test_healthz_is_small(settings: Settings) -> None:
    health = served(settings.model_copy(update={"keys_required": True})).get("/healthz").json()
    assert health == {"status": "ok", "version": __version__, "isolation": None}
