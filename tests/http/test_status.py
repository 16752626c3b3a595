"""`status`, `download` and `cancel`: every row of the contract's tables, at every address."""

from __future__ import annotations

import hashlib

import pytest

from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.records.frameworks import Framework
from coppice.records.job import JobState
from coppice.records.request import Part, Request
from coppice.settings import Settings
from tests.http.service import RESULT, TABLE, TXID, Client, ShownDesk, job, keep_results, served

STATES = pytest.mark.parametrize(
    ("state", "number", "message"),
    [
        (JobState.DONE, 0, TABLE),
        (JobState.QUEUED, 1, "Queued: place 3."),
        (JobState.RUNNING, 2, "Running: trace, 25% of the job: conv1"),
        (JobState.FAILED, -1, "The file holds weights only. Use save()."),
        (JobState.CANCELLED, -2, "Cancelled by anonymous, 2026-11-22 03:04:05 UTC. Send the job again to run it."),
        (JobState.EXPIRED, -1, "The result is past its retention and was deleted. Send the job again."),
    ],
)


def showing(settings: Settings, state: JobState, client: str = "anonymous") -> Desk:
    return ShownDesk(settings, {TXID: job(state, client)})


@STATES
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_first_documents_status_is_a_number(
    settings: Settings, state: JobState, number: int, message: str, slash: str
) -> None:
    client = served(settings, showing(settings, state))
    answer = client.get(f"/api/status{slash}", params={"txid": TXID})
    assert answer.status_code == 200
    assert answer.json()["status"] == number
    assert answer.json()["message"] == message
    assert ("filename" in answer.json()) == (state is JobState.DONE)


@STATES
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_second_documents_status_is_a_string(
    settings: Settings, state: JobState, number: int, message: str, slash: str
) -> None:
    client = served(settings, showing(settings, state))
    answer = client.get(f"/edgeai/run/api/status{slash}", params={"txid": TXID})
    assert answer.status_code == 200
    assert answer.json()["status"] == str(number)
    assert answer.json()["message"] == message


def test_done_is_exactly_the_three_fields_of_the_documents(settings: Settings) -> None:
    client = served(settings, showing(settings, JobState.DONE))
    assert client.get(f"/api/status/?txid={TXID}").json() == {
        "status": 0,
        "message": TABLE,
        "filename": "tmp7d8tkpfs.h5",
    }


def test_running_shows_the_progress_as_data_too(settings: Settings) -> None:
    client = served(settings, showing(settings, JobState.RUNNING))
    answer = client.get(f"/api/status/?txid={TXID}").json()
    assert answer["progress"] == {"step": "trace", "fraction": 0.25, "detail": "conv1"}


def test_failed_names_the_code_and_the_field(settings: Settings) -> None:
    client = served(settings, showing(settings, JobState.FAILED))
    answer = client.get(f"/api/status/?txid={TXID}").json()
    assert (answer["code"], answer["field"]) == ("weights_only", "model")


@pytest.mark.parametrize("call", ["status/", "download"])
@pytest.mark.parametrize("txid", ["00000000-0000-4000-8000-000000000000", "../../etc/passwd", "x" * 3000, "é"])
def test_an_unknown_txid_is_the_documents_sentence(settings: Settings, call: str, txid: str) -> None:
    client = served(settings)
    answer = client.get(f"/api/{call}", params={"txid": txid})
    assert answer.status_code == 404
    assert answer.json()["status"] == -1
    assert answer.json()["message"] == "No transaction submitted for txid"


@pytest.mark.parametrize("call", ["status/", "download", "cancel"])
def test_another_clients_txid_is_answered_like_an_unknown_one(settings: Settings, call: str) -> None:
    settings = settings.model_copy(update={"keys_required": True})
    client_id, secret = Keys(settings).create("bob")
    headers = {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": secret}
    method = "POST" if call == "cancel" else "GET"
    desk = Desk(settings)
    desk.submit(
        txid=TXID,
        client="ann",
        request=Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "net.h5"}),
        uploads=(),
    )
    client = served(settings, desk)
    others, unknown = (
        client.request(method, f"/api/{call}", params={"txid": txid}, headers=headers)
        for txid in (TXID, TXID.replace("c", "d"))
    )
    assert others.status_code == unknown.status_code == 404
    assert others.json() == unknown.json()
    assert desk.job(TXID, "ann").state is JobState.QUEUED


@pytest.mark.parametrize("prefix", ["/api", "/edgeai/run/api"])
@pytest.mark.parametrize(
    ("state", "http_status", "number", "code"),
    [
        (JobState.QUEUED, 409, 1, "result_not_ready"),
        (JobState.RUNNING, 409, 2, "result_not_ready"),
        (JobState.FAILED, 409, -1, "weights_only"),
        (JobState.CANCELLED, 409, -2, "result_not_ready"),
        (JobState.EXPIRED, 410, -1, "result_expired"),
    ],
)
def test_there_is_nothing_to_download_until_done(
    settings: Settings, prefix: str, state: JobState, http_status: int, number: int, code: str
) -> None:
    client = served(settings, showing(settings, state))
    answer = client.get(f"{prefix}/download", params={"txid": TXID})
    shown = client.get("/api/status", params={"txid": TXID}).json()
    assert answer.status_code == http_status
    assert answer.json()["status"] == number
    assert answer.json()["code"] == code
    assert answer.json()["message"] == shown["message"]


@pytest.mark.parametrize("path", ["/api/download", "/api/download/", "/edgeai/run/api/download"])
def test_a_download_has_its_bytes_name_type_length_and_hash(settings: Settings, path: str) -> None:
    keep_results(settings)
    client = served(settings, showing(settings, JobState.DONE))
    answer = client.get(path, params={"txid": TXID})
    assert answer.content == RESULT
    assert answer.headers["content-disposition"] == 'attachment; filename="tmp7d8tkpfs.h5"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(RESULT))
    assert answer.headers["etag"] == f'"{hashlib.sha256(RESULT).hexdigest()}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_client_that_has_the_bytes_is_not_sent_them_again(settings: Settings) -> None:
    keep_results(settings)
    client = served(settings, showing(settings, JobState.DONE))
    tag = client.get(f"/api/download?txid={TXID}").headers["etag"]
    again = client.get(f"/api/download?txid={TXID}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_an_artifact_is_asked_for_by_name(settings: Settings) -> None:
    keep_results(settings)
    client = served(settings, showing(settings, JobState.DONE))
    report = client.get(f"/api/download?txid={TXID}&artifact=report")
    model = client.get(f"/api/download?txid={TXID}&artifact=model")
    absent = client.get(f"/api/download?txid={TXID}&artifact=onnx")
    assert report.json() == {"coppice": "0"}
    assert report.headers["content-disposition"] == 'attachment; filename="report.json"'
    assert model.content == RESULT
    assert absent.status_code == 404
    assert (absent.json()["code"], absent.json()["field"]) == ("unknown_artifact", "artifact")
    assert "model, report" in absent.json()["message"]


def test_a_result_that_the_sweep_took_meanwhile_has_expired(settings: Settings) -> None:
    client = served(settings, showing(settings, JobState.DONE))
    answer = client.get(f"/api/download?txid={TXID}")
    assert (answer.status_code, answer.json()["code"]) == (410, "result_expired")


@pytest.mark.parametrize(
    ("query", "code", "field", "hint"),
    [
        ("", "parameter_missing", "txid", "?txid="),
        ("txid=", "parameter_missing", "txid", "?txid="),
        ("txId=1", "parameter_invalid", "txId", "txid"),
    ],
)
def test_a_wrong_query_is_named(settings: Settings, query: str, code: str, field: str, hint: str) -> None:
    client = served(settings)
    answer = client.get(f"/api/status/?{query}")
    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["code"], answer.json()["field"]) == (-1, code, field)
    assert hint in answer.json()["message"]


def test_a_queued_job_is_cancelled_by_its_client(settings: Settings) -> None:
    client = served(settings)
    txid = submit(client)
    cancelled = client.post("/api/cancel", params={"txid": txid}).json()
    after = client.get("/api/status/", params={"txid": txid}).json()
    download = client.get("/api/download", params={"txid": txid})
    assert cancelled["status"] == -2
    assert after == cancelled
    assert "anonymous" in after["message"]
    assert download.status_code == 409


def submit(client: Client) -> str:
    answer = client.post("/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")})
    return str(answer.json()["txid"])
