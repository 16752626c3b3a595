"""`inspect`: one call for the models of every framework, told apart by their files."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.job import JobState
from coppice.records.request import Part, Request, Task
from coppice.settings import Settings
from coppice.storage import result_key
from tests.http.service import TXID, ShownDesk, files_under, job, served, stored
from tests.http.test_upload import ADDRESSES

KERAS = {"model": ("lenet.h5", b"\x89HDF")}
TORCH = {"weights": ("mnist_cnn.pth", b"PK tensors"), "class_def": ("model.py", b"class Net: pass")}
PT = {"input_size": "1,28,28", "model_name": "Net"}


def send(settings: Settings, parameters: dict[str, str], files: dict[str, Any], address: str = "/api/{}") -> Any:
    return served(settings).post(address.format("inspect"), params=parameters, files=files)


def accepted(settings: Settings, answer: httpx.Response) -> Request:
    assert answer.status_code == 200, answer.text
    assert answer.json()["message"] == "Successfully submitted transaction."
    return Desk(settings).job(answer.json()["txid"], "anonymous").request


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_keras_model_is_known_by_its_file(settings: Settings, address: str) -> None:
    answer = send(settings, {}, KERAS, address)
    assert accepted(settings, answer) == Request(
        framework=Framework.KERAS, task=Task.INSPECT, percent=0.5, files={Part.MODEL: "lenet.h5"}
    )


def test_a_pytorch_model_is_known_by_its_files(settings: Settings) -> None:
    answer = send(settings, {**PT, "percent": "0.4", "ommitted": "fc2"}, TORCH)
    assert accepted(settings, answer) == Request(
        framework=Framework.PYTORCH,
        task=Task.INSPECT,
        percent=0.4,
        omit=("fc2",),
        input_size=(Input(shape=(1, 28, 28)),),
        model_name="Net",
        files={Part.WEIGHTS: "mnist_cnn.pth", Part.CLASS_DEF: "model.py"},
    )


@pytest.mark.parametrize(
    ("parameters", "files", "part"),
    [
        ({}, {"file": ("lenet.h5", b"model")}, Part.MODEL),
        (PT, {"file": ("cnn.pth", b"tensors"), "class_def": ("model.py", b"class")}, Part.WEIGHTS),
    ],
)
def test_file_means_what_its_suffix_says(
    settings: Settings, parameters: dict[str, str], files: dict[str, Any], part: Part
) -> None:
    assert part in accepted(settings, send(settings, parameters, files)).files


@pytest.mark.parametrize(
    ("parameters", "name", "framework"),
    [
        ({}, "net.onnx", Framework.ONNX),
        ({}, "model.zip", Framework.KERAS),
        ({"model_type": "onnx"}, "model.zip", Framework.ONNX),
        ({"input_size": "3,8,8"}, "model.zip", Framework.ONNX),  # which means nothing for a Keras model
    ],
)
def test_a_zip_may_be_of_keras_or_of_onnx(
    settings: Settings, parameters: dict[str, str], name: str, framework: Framework
) -> None:
    assert accepted(settings, send(settings, parameters, {"model": (name, b"PK")})).framework is framework


@pytest.mark.parametrize(
    ("parameters", "files", "http_status", "code", "field"),
    [
        ({"model_type": "pt"}, KERAS, 400, "parameter_invalid", "model_type"),
        ({"model_type": "onyx"}, KERAS, 400, "parameter_invalid", "model_type"),
        (PT, {**KERAS, "class_def": TORCH["class_def"]}, 400, "parameter_invalid", "class_def"),
        (PT, KERAS, 400, "parameter_invalid", "input_size"),
        (PT, {"weights": TORCH["weights"]}, 400, "parameter_missing", "class_def"),
        ({"model_name": "Net"}, TORCH, 400, "input_size_invalid", "input_size"),
        ({}, {}, 400, "parameter_missing", "model"),
        ({"percent": "1.5"}, KERAS, 400, "percent_out_of_range", "percent"),
        ({"percnt": "0.5"}, KERAS, 400, "parameter_invalid", "percnt"),
        ({}, {"model": ("lenet.exe", b"MZ")}, 415, "unsupported_media_type", "model"),
    ],
)
def test_a_refusal_names_what_is_wrong_and_leaves_nothing(
    settings: Settings, parameters: dict[str, str], files: dict[str, Any], http_status: int, code: str, field: str
) -> None:
    answer = send(settings, parameters, files)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (http_status, code, field), body
    assert body["txid"] == "N/A"
    assert files_under(settings.data_dir / "store") in ([], [settings.data_dir / "store" / "uploads"])


def test_the_download_of_an_inspection_is_the_inspection(settings: Settings) -> None:
    found = b'{"groups": []}'
    path = settings.data_dir / "store" / result_key(TXID, 1, "inspection.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(found)
    done = job(JobState.DONE)
    done = done.model_copy(
        update={
            "request": done.request.model_copy(update={"task": Task.INSPECT}),
            "filename": "tmpab.json",
            "artifacts": (stored("inspection", "inspection.json", found, "application/json"),),
        }
    )
    client = served(settings, ShownDesk(settings, {TXID: done}))
    answer = client.get("/api/download", params={"txid": TXID})
    named = client.get("/api/download", params={"txid": TXID, "artifact": "inspection"})
    absent = client.get("/api/download", params={"txid": TXID, "artifact": "model"})
    assert answer.json() == named.json() == {"groups": []}
    assert answer.headers["content-disposition"] == 'attachment; filename="tmpab.json"'
    assert (absent.status_code, absent.json()["code"]) == (404, "unknown_artifact")


def test_the_page_asks_for_nothing_that_only_one_framework_needs(settings: Settings) -> None:
    operation = served(settings).get("/openapi.json").json()["paths"]["/api/inspect"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {part.value for part in Part} - {"plan"}  # which cuts
    assert form["required"] == []
    assert not any(parameter["required"] for parameter in operation["parameters"])
