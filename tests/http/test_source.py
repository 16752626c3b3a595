"""`source_txid`: the result of an earlier prune call as the files of the next one, copied in the store."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.jobs.desk import Desk
from coppice.jobs.keys import ANONYMOUS
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.records.request import Part, Request, Task
from coppice.settings import Settings
from coppice.storage import result_key
from tests.http.service import RESULT, TXID, Client, ShownDesk, job, keep_results, served, stored, uploads_of

CLASS = b"class Net: 'as pruned'"
SAMPLES = {"dataset": ("samples.npz", b"PK")}
QUERY = {"precision": "int4", "source_txid": TXID}


def pytorch(settings: Settings, **change: Any) -> Job:
    """A PyTorch model that was pruned, its files in the store."""
    files = {"state_dict": ("net.pth", RESULT), "class_def": ("model.py", CLASS), "model": ("net.pt", b"a pickle")}
    for file, content in files.values():
        path = settings.data_dir / "store" / result_key(TXID, 1, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    asked = {
        "framework": Framework.PYTORCH,
        "percent": 0.5,
        "input_size": (1, 8, 8),
        "model_name": "Net",
        "model_args": {"classes": 4},
        **change,
    }
    made: tuple[StoredArtifact, ...] = tuple(stored(name, *file) for name, file in files.items())
    request = Request.model_validate(asked)
    return job(JobState.DONE).model_copy(update={"request": request, "artifacts": made})


def client_of(settings: Settings, shown: Job) -> Client:
    return served(settings, ShownDesk(settings, {TXID: shown}))


def accepted(settings: Settings, answer: Any) -> Request:
    assert answer.status_code == 200, answer.text
    return Desk(settings).job(answer.json()["txid"], ANONYMOUS).request


def test_a_pruned_keras_model_needs_no_upload_at_all(settings: Settings) -> None:
    keep_results(settings)
    answer = client_of(settings, job(JobState.DONE)).post("/api/tf_quantize", params=QUERY)
    found = accepted(settings, answer)
    assert (found.task, found.files, found.source_txid) == (Task.QUANTIZE, {Part.MODEL: "net.h5"}, TXID)
    # The job's own copy, which the end of the earlier job's retention does not take away.
    assert uploads_of(settings) == {"model/net.h5": RESULT}


def test_a_pruned_pytorch_model_comes_with_its_class_and_how_it_is_built(settings: Settings) -> None:
    client = client_of(settings, pytorch(settings))
    found = accepted(settings, client.post("/api/pt_quantize", params={**QUERY, "precision": "int8"}, files=SAMPLES))
    assert found.files == {Part.WEIGHTS: "net.pth", Part.CLASS_DEF: "model.py", Part.DATASET: "samples.npz"}
    assert (found.input_size, found.model_name) == ((Input(shape=(1, 8, 8)),), "Net")
    assert found.model_args == {"classes": 4}
    assert uploads_of(settings) == {
        "weights/net.pth": RESULT,
        "class_def/model.py": CLASS,
        "dataset/samples.npz": b"PK",
    }


def test_what_is_said_again_goes_before_what_was_said(settings: Settings) -> None:
    client = client_of(settings, pytorch(settings))
    fields = {**QUERY, "input_size": "1,16,16"}
    for place in ({"params": fields}, {"data": fields, "files": SAMPLES}):
        found = accepted(settings, client.post("/api/pt_quantize", **place))
        assert (found.input_size, found.model_name) == ((Input(shape=(1, 16, 16)),), "Net")


def test_a_cut_may_be_cut_again(settings: Settings) -> None:
    client = client_of(settings, pytorch(settings))
    found = accepted(settings, client.post("/api/pt_prune", params={"percent": "0.25", "source_txid": TXID}))
    assert (found.task, found.percent, found.files[Part.WEIGHTS]) == (Task.PRUNE, 0.25, "net.pth")


@pytest.mark.parametrize(
    ("state", "http_status", "code", "says"),
    [
        (JobState.QUEUED, 409, "result_not_ready", "Queued: place 3"),
        (JobState.RUNNING, 409, "result_not_ready", "Running: trace"),
        (JobState.FAILED, 409, "result_not_ready", "holds weights only"),
        (JobState.CANCELLED, 409, "result_not_ready", "Cancelled"),
        (JobState.EXPIRED, 410, "result_expired", "Send the job again"),
    ],
)
def test_a_job_without_a_result_is_told_so(
    settings: Settings, state: JobState, http_status: int, code: str, says: str
) -> None:
    answer = client_of(settings, job(state)).post("/api/tf_quantize", params=QUERY)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (http_status, code, "source_txid"), body
    assert says in body["message"]
    assert uploads_of(settings) == {}


@pytest.mark.parametrize("txid", [TXID, "00000000-0000-4000-8000-000000000000"])
def test_a_job_of_another_client_is_as_one_that_is_not_there(settings: Settings, txid: str) -> None:
    client = client_of(settings, job(JobState.DONE, client="another"))
    answer = client.post("/api/tf_quantize", params={**QUERY, "source_txid": txid})
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (404, "unknown_transaction", "source_txid")
    assert body["message"] == "No transaction submitted for txid"


def test_a_result_that_is_gone_is_expired(settings: Settings) -> None:
    answer = client_of(settings, job(JobState.DONE)).post("/api/tf_quantize", params=QUERY)
    assert (answer.status_code, answer.json()["code"]) == (410, "result_expired")
    assert uploads_of(settings) == {}


@pytest.mark.parametrize(
    ("change", "call", "query", "says"),
    [
        ({}, "tf_quantize", QUERY, "Use pt_quantize"),
        ({"task": Task.SWEEP, "percents": (0.5,)}, "pt_quantize", QUERY, "a sweep"),
        ({"task": Task.QUANTIZE, "percent": 0.0, "precision": "int4"}, "pt_quantize", QUERY, "quantized already"),
        ({"task": Task.INSPECT}, "pt_quantize", QUERY, "inspection"),
        ({}, "pt_quantize", {**QUERY, "source_txid": "latest"}, "no transaction id"),
    ],
)
def test_what_can_not_be_taken_up_is_refused(
    settings: Settings, change: dict[str, Any], call: str, query: dict[str, str], says: str
) -> None:
    answer = client_of(settings, pytorch(settings, **change)).post(f"/api/{call}", params=query)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (400, "parameter_invalid", "source_txid"), body
    assert says in body["message"]


def test_a_result_without_a_class_file_is_refused(settings: Settings) -> None:
    shown = pytorch(settings)
    shown = shown.model_copy(update={"artifacts": shown.artifacts[:1]})
    answer = client_of(settings, shown).post("/api/pt_quantize", params=QUERY)
    assert "no artifact class_def" in answer.json()["message"]


def test_a_file_beside_the_one_that_stands_for_it_is_refused(settings: Settings) -> None:
    files = {"class_def": ("model.py", b"class Net: pass")}
    answer = client_of(settings, pytorch(settings)).post("/api/pt_quantize", params=QUERY, files=files)
    assert (answer.status_code, answer.json()["field"]) == (400, "class_def")
    assert "source_txid" in answer.json()["message"]
    assert uploads_of(settings) == {}


def test_samples_are_asked_for_again(settings: Settings) -> None:
    query = {**QUERY, "precision": "int8"}
    answer = client_of(settings, pytorch(settings)).post("/api/pt_quantize", params=query)
    assert (answer.json()["code"], answer.json()["field"]) == ("samples_missing", "dataset")
    assert "send them again" in answer.json()["message"]
