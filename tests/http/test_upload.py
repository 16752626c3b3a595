"""`tf_prune` and `pt_prune`: what is taken, what is refused and how, and that a refusal leaves nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.request import Part, Request
from coppice.settings import Settings
from tests.http.service import Client, files_under, served, uploads_of

MODEL = {"model": ("lenet.h5", b"\x89HDF")}
WEIGHTS = {"weights": ("mnist_cnn.pth", b"PK tensors"), "class_def": ("model.py", b"class Net: pass")}
TF = {"percent": "0.4"}
PT = {"percent": "0.5", "input_size": "1,28,28", "model_name": "Net"}
ADDRESSES = [f"{prefix}/{{}}{slash}" for prefix in ("/api", "/edgeai/run/api") for slash in ("", "/")]


def accepted(settings: Settings, answer: httpx.Response) -> Request:
    """The request of the job that an answer names."""
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"txid", "message"}
    return Desk(settings).job(answer.json()["txid"], "anonymous").request


def refused(settings: Settings, answer: httpx.Response, http_status: int, code: str, field: str | None) -> str:
    """The message of a refusal, after checking its shape, and that nothing of the upload is left."""
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (http_status, code, field), body
    assert body["txid"] == "N/A"
    assert files_under(settings.data_dir / "store") in ([], [settings.data_dir / "store" / "uploads"])
    return str(body["message"])


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_keras_model_is_taken_byte_for_byte(settings: Settings, address: str) -> None:
    content = bytes(range(256)) * 5000
    answer = served(settings).post(
        address.format("tf_prune"), params={"percent": "0.4", "ommitted": ""}, files={"model": ("lenet.h5", content)}
    )
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", answer.json()["txid"])
    assert answer.json()["message"] == "Successfully submitted transaction."
    assert accepted(settings, answer) == Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "lenet.h5"})
    assert uploads_of(settings) == {"model/lenet.h5": content}


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_pytorch_model_is_taken_with_its_class_and_sample(settings: Settings, address: str) -> None:
    files = {**WEIGHTS, "dataset": ("train_loader.pth", b"loader")}
    answer = served(settings).post(address.format("pt_prune"), params={**PT, "ommitted": "fc1,fc2"}, files=files)
    assert accepted(settings, answer) == Request(
        framework=Framework.PYTORCH,
        percent=0.5,
        omit=("fc1", "fc2"),
        input_size=(Input(shape=(1, 28, 28)),),
        model_name="Net",
        files={Part.WEIGHTS: "mnist_cnn.pth", Part.CLASS_DEF: "model.py", Part.DATASET: "train_loader.pth"},
    )
    assert set(uploads_of(settings)) == {"weights/mnist_cnn.pth", "class_def/model.py", "dataset/train_loader.pth"}


def test_every_parameter_may_be_a_form_field(settings: Settings) -> None:
    answer = served(settings).post("/api/pt_prune", data={**PT, "ommitted": "fc1", "model_type": "pt"}, files=WEIGHTS)
    assert accepted(settings, answer).omit == ("fc1",)


def test_a_form_field_may_come_after_the_files(settings: Settings) -> None:
    fields = [(name, (None, value)) for name, value in PT.items()]
    answer = served(settings).post("/api/pt_prune", files=[*WEIGHTS.items(), *fields])
    assert accepted(settings, answer).model_name == "Net"


def test_query_and_form_together_make_the_request(settings: Settings) -> None:
    answer = served(settings).post(
        "/api/pt_prune?percent=0.5&input_size=1,28,28", data={"model_name": "Net"}, files=WEIGHTS
    )
    assert accepted(settings, answer).percent == 0.5


@pytest.mark.parametrize("name", ["ommitted", "omitted", "unprunable"])
def test_the_omitted_layers_have_three_names(settings: Settings, name: str) -> None:
    answer = served(settings).post("/api/tf_prune", params={**TF, name: "dense, dense_1 ,"}, files=MODEL)
    assert accepted(settings, answer).omit == ("dense", "dense_1")


def test_an_empty_name_for_the_omitted_layers_gives_way_to_another(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_prune?percent=0.4&ommitted=&omitted=dense", files=MODEL)
    assert accepted(settings, answer).omit == ("dense",)


@pytest.mark.parametrize(
    ("call", "parameters", "files", "part"),
    [
        ("tf_prune", TF, {"file": ("lenet.h5", b"model")}, Part.MODEL),
        ("pt_prune", PT, {"file": ("cnn.pth", b"tensors"), "class_def": ("model.py", b"class")}, Part.WEIGHTS),
    ],
)
def test_file_is_another_name_of_the_model_and_of_the_weights(
    settings: Settings, call: str, parameters: dict[str, str], files: dict[str, Any], part: Part
) -> None:
    assert part in accepted(settings, served(settings).post(f"/api/{call}", params=parameters, files=files)).files


@pytest.mark.parametrize("size", ["1,28,28", "(1, 28, 28)", "1x28x28", "1,28,28,"])
def test_an_input_size_is_read_as_people_write_it(settings: Settings, size: str) -> None:
    answer = served(settings).post("/api/pt_prune", params={**PT, "input_size": size}, files=WEIGHTS)
    assert accepted(settings, answer).input_size == (Input(shape=(1, 28, 28)),)


def test_several_inputs_and_arguments_are_passed_on(settings: Settings) -> None:
    given = {"input_size": "3,8,8;5:int64<9;mask=5:bool", "model_args": '{"classes": 7, "widths": [8, 16]}'}
    request = accepted(settings, served(settings).post("/api/pt_prune", params={**PT, **given}, files=WEIGHTS))
    assert request.input_size == (
        Input(shape=(3, 8, 8)),
        Input(shape=(5,), dtype="int64", below=9),
        Input(shape=(5,), dtype="bool", name="mask"),
    )
    assert request.model_args == {"classes": 7, "widths": [8, 16]}


def test_criterion_and_seed_are_passed_on(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_prune?percent=0.4&criterion=random&seed=7", files=MODEL)
    request = accepted(settings, answer)
    assert (request.criterion, request.seed) == ("random", 7)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".zip", ".keras", ".H5"])
def test_keras_suffixes(settings: Settings, suffix: str) -> None:
    answer = served(settings).post("/api/tf_prune", params=TF, files={"model": (f"net{suffix}", b"model")})
    assert accepted(settings, answer).files == {Part.MODEL: f"net{suffix}"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/cron.d/net.h5", "net.h5"),
        ("C:\\models\\my net.h5", "my_net.h5"),
        ("..h5.h5", "h5.h5"),
        ("modèle.h5", "mod_le.h5"),
        ("a\r\nb.h5", "a_0D_0Ab.h5"),
        ("x" * 500 + ".h5", "x" * 197 + ".h5"),
    ],
)
def test_a_file_name_is_kept_as_far_as_it_is_safe(settings: Settings, given: str, kept: str) -> None:
    answer = served(settings).post("/api/tf_prune", params=TF, files={"model": (given, b"model")})
    assert accepted(settings, answer).files == {Part.MODEL: kept}
    assert set(uploads_of(settings)) == {f"model/{kept}"}


@pytest.mark.parametrize(
    ("percent", "code", "hint"),
    [
        (None, "parameter_missing", "percent=0.4"),
        ("", "parameter_missing", "percent=0.4"),
        ("40", "percent_out_of_range", "write 0.4"),
        ("-1", "percent_out_of_range", "0 <= percent < 1"),
        ("1.0", "percent_out_of_range", "0 <= percent < 1"),
        ("nan", "percent_out_of_range", "0 <= percent < 1"),
        ("inf", "percent_out_of_range", "0 <= percent < 1"),
        ("abc", "parameter_invalid", "0.4"),
        ("40%", "parameter_invalid", "0.4"),
    ],
)
@pytest.mark.parametrize("place", ["params", "data"])
def test_a_wrong_percent_says_what_to_write(
    settings: Settings, percent: str | None, code: str, hint: str, place: str
) -> None:
    given: dict[str, Any] = {} if percent is None else {place: {"percent": percent}}
    answer = served(settings).post("/api/tf_prune", files=MODEL, **given)
    assert hint in refused(settings, answer, 400, code, "percent")


@pytest.mark.parametrize(
    ("change", "code", "field", "hint"),
    [
        ({"input_size": None}, "input_size_invalid", "input_size", "input_size=1,28,28"),
        ({"input_size": "a,b"}, "input_size_invalid", "input_size", "1,28,28"),
        ({"input_size": "0,28,28"}, "input_size_invalid", "input_size", "below 1"),
        ({"input_size": "100000,100000"}, "input_size_invalid", "input_size", "limit"),
        ({"model_name": None}, "parameter_missing", "model_name", "model_name=Net"),
        ({"model_name": "Net()"}, "parameter_invalid", "model_name", "bare name"),
        ({"model_type": "tf"}, "parameter_invalid", "model_type", "tf_prune"),
        ({"model_type": "theano"}, "parameter_invalid", "model_type", "none of pt, tf, onnx"),
        ({"seed": "-1"}, "parameter_invalid", "seed", "whole number"),
        ({"seed": "9" * 19}, "parameter_invalid", "seed", "whole number"),
        ({"percnt": "0.4"}, "parameter_invalid", "percnt", "Did you mean percent?"),
        ({"ommited": "fc1"}, "parameter_invalid", "ommited", "Did you mean ommitted?"),
        ({"omitted": "fc1", "unprunable": "fc2"}, "parameter_invalid", "ommitted", "twice"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_remedy(
    settings: Settings, change: dict[str, str | None], code: str, field: str, hint: str
) -> None:
    parameters = {name: value for name, value in {**PT, **change}.items() if value is not None}
    answer = served(settings).post("/api/pt_prune", params=parameters, files=WEIGHTS)
    assert hint in refused(settings, answer, 400, code, field)


def test_a_parameter_of_the_other_call_is_told_so(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_prune?percent=0.4&model_name=Net", files=MODEL)
    assert "tf_prune takes no 'model_name'" in refused(settings, answer, 400, "parameter_invalid", "model_name")


def test_the_same_value_twice_is_no_contradiction(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_prune?percent=0.4", data={"percent": "0.4"}, files=MODEL)
    assert accepted(settings, answer).percent == 0.4


@pytest.mark.parametrize("missing", ["weights", "class_def"])
def test_a_missing_part_is_named(settings: Settings, missing: str) -> None:
    files = {name: file for name, file in WEIGHTS.items() if name != missing}
    answer = served(settings).post("/api/pt_prune", params=PT, files=files)
    assert f"--form {missing}=@" in refused(settings, answer, 400, "parameter_missing", missing)


def test_a_call_without_a_body_is_told_what_is_missing(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_prune?percent=0.4")
    assert "--form model=@" in refused(settings, answer, 400, "parameter_missing", "model")


@pytest.mark.parametrize(
    ("files", "http_status", "code", "field", "hint"),
    [
        ({"model": ("lenet.h5", b"")}, 422, "empty_file", "model", "'lenet.h5' is empty"),
        ({"model": ("lenet.onnx", b"x")}, 415, "unsupported_media_type", "model", ".h5, .hdf5, .zip or .keras"),
        ({"model": ("lenet", b"x")}, 415, "unsupported_media_type", "model", ".h5, .hdf5, .zip or .keras"),
        ({"modle": ("lenet.h5", b"x")}, 400, "parameter_invalid", "modle", "Did you mean model?"),
        ({"weights": ("cnn.pth", b"x")}, 400, "parameter_invalid", "weights", "It takes model, file, dataset, plan."),
        ({"model": (None, b"mnist_base.h5")}, 400, "parameter_invalid", "model", "--form model=@FILE"),
        ({"percent": ("percent.txt", b"0.4"), **MODEL}, 400, "parameter_invalid", "percent", "came as a file"),
        ({"ommitted": (None, b"\xff\xfe"), **MODEL}, 400, "parameter_invalid", "ommitted", "UTF-8"),
        ({"ommitted": (None, b"a" * 300_000), **MODEL}, 400, "parameter_invalid", "ommitted", "longer"),
    ],
)
def test_a_wrong_part_is_named_with_its_remedy(
    settings: Settings, files: dict[str, Any], http_status: int, code: str, field: str, hint: str
) -> None:
    answer = served(settings).post("/api/tf_prune", params=TF, files=files)
    assert hint in refused(settings, answer, http_status, code, field)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model.txt", ".py"),
        ("my-model.py", "my_model.py"),
        ("my model.py", "my_model.py"),
        ("2net.py", "model_2net.py"),
        ("class.py", "class_.py"),
        ("net.v2.py", "net_v2.py"),
        ("modèle.py", "mod_le.py"),
        ("json.py", "hide the module json"),
        ("torch.py", "hide the module torch"),
    ],
)
def test_a_class_file_must_be_importable_by_its_name(settings: Settings, name: str, hint: str) -> None:
    files = {**WEIGHTS, "class_def": (name, b"class Net: pass")}
    answer = served(settings).post("/api/pt_prune", params=PT, files=files)
    assert hint in refused(settings, answer, 415, "unsupported_media_type", "class_def")


def test_one_part_twice_is_refused(settings: Settings) -> None:
    files = [("model", ("a.h5", b"a")), ("file", ("b.h5", b"b"))]
    assert "twice" in refused(
        settings, served(settings).post("/api/tf_prune", params=TF, files=files), 400, "parameter_invalid", "model"
    )


def test_a_file_field_that_a_page_left_empty_is_none(settings: Settings) -> None:
    files = {**WEIGHTS, "dataset": ("", b"")}
    request = Request.model_validate(
        {
            **PT,
            "input_size": (1, 28, 28),
            "percent": 0.5,
            "framework": "pt",
            "files": {"weights": "mnist_cnn.pth", "class_def": "model.py"},
        }
    )
    # httpx sends no file name for an empty one, so the body is written by hand.
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), file.encode(), content)
        for name, (file, content) in files.items()
    )
    answer = served(settings).post(
        "/api/pt_prune",
        params=PT,
        content=body + b"--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert accepted(settings, answer) == request


def test_a_file_that_a_page_sends_as_an_empty_field_is_none(settings: Settings) -> None:
    answer = served(settings).post("/api/pt_prune", params=PT, files=WEIGHTS, data={"dataset": ""})
    assert Part.DATASET not in accepted(settings, answer).files


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_no_form_is_refused(settings: Settings, content_type: str) -> None:
    answer = served(settings).post(
        "/api/tf_prune?percent=0.4", content=json.dumps({"model": 1}), headers={"content-type": content_type}
    )
    assert "--form model=@" in refused(settings, answer, 415, "unsupported_media_type", None)


def test_an_upload_over_the_limit_is_refused_by_its_announced_length(settings: Settings) -> None:
    settings = settings.model_copy(update={"max_upload_bytes": 1000})
    answer = served(settings).post("/api/tf_prune", params=TF, files={"model": ("lenet.h5", b"x" * 1000)})
    assert "1,000 bytes" in refused(settings, answer, 413, "upload_too_large", None)


def test_the_limit_counts_all_parts_together_when_no_length_is_announced(settings: Settings) -> None:
    settings = settings.model_copy(update={"max_upload_bytes": 3000})
    client = served(settings)
    files = {"weights": ("w.pth", b"x" * 1300), "class_def": ("model.py", b"x" * 1300)}
    assert accepted(settings, chunked(client, files)).model_name == "Net"
    assert len(uploads_of(settings)) == 2
    files["dataset"] = ("loader.pth", b"x" * 1300)
    answer = chunked(client, files)
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert len(uploads_of(settings)) == 2


def chunked(client: Client, files: dict[str, tuple[str, bytes]]) -> httpx.Response:
    """Send a form without saying how long it is."""
    form = httpx.Request("POST", "http://a/", files=files)

    async def pieces() -> Any:
        for start in range(0, len(form.read()), 500):
            yield form.read()[start : start + 500]

    return client.post(
        "/api/pt_prune", params=PT, content=pieces(), headers={"content-type": form.headers["content-type"]}
    )


def test_too_many_parts_are_refused(settings: Settings) -> None:
    fields = [("ommitted", (None, b""))] * 100
    answer = served(settings).post("/api/tf_prune", params=TF, files=fields)
    assert "64 parts" in refused(settings, answer, 400, "body_invalid", None)
