"""The calls of the client: all that a request may say can be said, and whatever a model is given as is sent."""

from __future__ import annotations

import importlib.util
import io
import sys
import zipfile
from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import torch
from torch import nn

from coppice.client import Client
from coppice.client.keywords import Curve, Handling, Looking, Pruning, Quantizing
from coppice.errors import BadRequest, ParameterInvalid, ParameterMissing
from coppice.records.frameworks import Framework
from coppice.records.keywords import ATTRIBUTES, Numbers, Options, Shape, Sweeping
from coppice.records.request import Request, Task
from coppice.records.terms import Terms
from tests.client.answering import Asked, service

SENT = (200, {"txid": "00000000-0000-4000-8000-000000000001"})
KINDS: Mapping[Task, type] = {
    Task.PRUNE: Pruning,
    Task.QUANTIZE: Quantizing,
    Task.SWEEP: Curve,
    Task.INSPECT: Looking,
}

#: Attributes of a request that a task has no use for.
OF_ONE = {"max_drop", "weights", "precision"}
OF_CUTS = {"criterion", "spread", "target", "restore", "omit", "ratios", "keep", "round_to", "heads", "percent"}
OF_NUMBERS = {"precision", "weights", "biases", "activations", "layers", "rounding", "output_format"}
OF_SWEEPS = {"percents", "precisions"}
IDLE: Mapping[Task, set[str]] = {
    Task.PRUNE: OF_SWEEPS,
    Task.QUANTIZE: OF_SWEEPS | OF_CUTS,
    Task.SWEEP: OF_ONE | {"percent"},
    Task.INSPECT: OF_SWEEPS | OF_NUMBERS | {"criterion", "spread", "target", "restore", "max_drop", "seed"},
}
#: Said by the call itself, by its files, and by the model's being an earlier job.
SAID = {"framework", "task", "files", "source_txid"}


@pytest.mark.parametrize("framework", Framework)
@pytest.mark.parametrize("task", Task)
def test_every_attribute_of_a_request_can_be_said(task: Task, framework: Framework) -> None:
    method = getattr(Client, f"{task.value}_{framework.name.lower()}")
    own = {name for name, one in signature(method).parameters.items() if one.kind is Parameter.KEYWORD_ONLY}
    keywords = own | set(get_type_hints(KINDS[task])) - {"samples", "progress"} - set(Terms.model_fields)
    attributes = {ATTRIBUTES.get(name, name) for name in keywords} - {"class_def", "plan"}
    of_torch = set() if framework is Framework.PYTORCH else {"model_name", "model_args"}
    assert attributes == set(Request.model_fields) - SAID - IDLE[task] - of_torch


def test_every_term_can_be_said() -> None:
    assert set(get_type_hints(Handling)) >= set(Terms.model_fields)


@pytest.mark.parametrize("kind", [Shape, Options, Numbers, Sweeping])
def test_every_keyword_of_the_library_is_one_of_a_request(kind: type) -> None:
    assert {ATTRIBUTES.get(name, name) for name in get_type_hints(kind)} <= set(Request.model_fields)


def parameters(asked: Asked) -> dict[str, str]:
    """What the address of a call says."""
    return dict(parse_qsl(urlsplit(asked.path).query))


def part(asked: Asked, name: str) -> tuple[str, bytes]:
    """The name and the bytes of a file in a multipart body."""
    before, _, rest = asked.body.partition(f'name="{name}"; filename="'.encode())
    assert before, f"no part {name}"
    filename, _, rest = rest.partition(b'"')
    boundary = asked.body.partition(b"\r\n")[0]
    return filename.decode(), rest.partition(b"\r\n\r\n")[2].partition(b"\r\n" + boundary)[0]


def test_a_call_says_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04")
    (tmp_path / "net.py").write_text("class Net: ...")
    with service(SENT) as (server, client):
        job = client.prune_pytorch(
            tmp_path / "w.pth",
            percent=0.5,
            class_def=str(tmp_path / "net.py"),
            model_name="Net",
            model_args={"classes": 10},
            input_size=(1, 28, 28),
            omit=["fc1", "fc2"],
            keep={"conv1": [0, 1]},
            weights="float16",
            format="onnx",
            priority="high",
            time_limit=60,
        )
    (asked,) = server.asked
    assert job.txid == SENT[1]["txid"]
    assert urlsplit(asked.path).path == "/api/pt_prune"
    assert parameters(asked) == {
        "percent": "0.5",
        "ommitted": "fc1,fc2",
        "keep": "conv1=0,1",
        "weights": "float16",
        "format": "onnx",
        "input_size": "1,28,28",
        "model_name": "Net",
        "model_args": '{"classes": 10}',
        "priority": "high",
        "time_limit": "60",
    }
    assert part(asked, "class_def") == ("net.py", b"class Net: ...")


def test_a_live_module_is_sent_with_the_file_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "tiny_net.py"
    path.write_text("from torch import nn\nclass Tiny(nn.Linear):\n    def __init__(self): super().__init__(3, 2)\n")
    spec = importlib.util.spec_from_file_location("tiny_net", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tiny_net", module)
        spec.loader.exec_module(module)
        model = module.Tiny()
        with service(SENT) as (server, client):
            client.prune_pytorch(model, percent=0.5, input_size="3", samples=(np.ones((4, 3)), np.zeros(4)))
    (asked,) = server.asked
    assert parameters(asked)["model_name"] == "Tiny"
    assert part(asked, "class_def") == ("tiny_net.py", path.read_bytes())
    state = torch.load(io.BytesIO(part(asked, "weights")[1]), weights_only=True)
    assert torch.equal(state["weight"], model.weight)
    name, raw = part(asked, "dataset")
    assert name == "samples.npz"
    assert np.load(io.BytesIO(raw))["arr_0"].shape == (4, 3)


def test_a_live_module_whose_class_is_in_no_file_of_its_own_asks_for_one() -> None:
    with service() as (server, client), pytest.raises(ParameterMissing, match="class_def"):
        client.prune_pytorch(nn.Linear(3, 2), percent=0.5, input_size="3")
    assert not server.asked


def test_a_live_keras_model_is_saved_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the class; real ones are saved by the tests of the dialects."""
    monkeypatch.setitem(sys.modules, "keras", ModuleType("keras"))
    monkeypatch.setattr(sys.modules["keras"], "__version__", "3.5.0", raising=False)

    def save(_: object, path: str) -> None:
        Path(path).write_bytes(_zip("config.json"))

    model = type("Model", (), {"__module__": "keras.src.models.model", "save": save})()
    with service(SENT) as (server, client):
        client.quantize_keras(model, precision="float16")
    assert part(server.asked[0], "model") == ("model.keras", _zip("config.json"))


def _zip(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("call", "raw", "name"),
    [
        ("prune_keras", b"\x89HDF\r\n\x1a\n", "model.h5"),
        ("prune_keras", _zip("config.json"), "model.keras"),
        ("prune_keras", _zip("m/saved_model.pb"), "model.zip"),
        ("prune_onnx", b"\x08\x09", "model.onnx"),
        ("prune_onnx", _zip("m.onnx", "m.data"), "model.zip"),
    ],
)
def test_bytes_are_sent_under_the_name_that_they_have(call: str, raw: bytes, name: str) -> None:
    with service(SENT) as (server, client):
        getattr(client, call)(raw, percent=0.5)
    assert part(server.asked[0], "model") == (name, raw)


def test_an_onnx_model_is_sent_as_it_is_in_memory() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    with service(SENT) as (server, client):
        client.inspect_onnx(model)
    assert part(server.asked[0], "model") == ("model.onnx", model.SerializeToString())


def test_an_earlier_job_is_a_model() -> None:
    txid = SENT[1]["txid"]
    with service(SENT) as (server, client):
        client.quantize_keras(client.job(txid), precision="float16")
    assert parameters(server.asked[0]) == {"precision": "float16", "source_txid": txid}
    assert server.asked[0].body == b""


@pytest.mark.parametrize(
    ("model", "told", "error"),
    [
        (object(), {"percent": 0.5}, BadRequest),
        ("no-such-file.h5", {"percent": 0.5}, ParameterMissing),
        (b"\x89HDF\r\n\x1a\n", {}, ParameterMissing),
        (b"\x89HDF\r\n\x1a\n", {"percent": 0.5, "omit": "fc1"}, BadRequest),
        (b"\x89HDF\r\n\x1a\n", {"percent": 0.5, "priority": "urgent"}, ParameterInvalid),
        (b"\x89HDF\r\n\x1a\n", {"percent": 0.5, "omitt": ["fc1"]}, TypeError),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    model: Any, told: dict[str, Any], error: type[Exception]
) -> None:
    with service() as (server, client), pytest.raises(error):
        client.prune_keras(model, **told)
    assert not server.asked


def test_the_service_and_the_key_come_from_the_environment_where_they_are_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with service((200, {"jobs": []}), (200, {"jobs": []})) as (server, _):
        monkeypatch.setenv("COPPICE_SERVER", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("COPPICE_CLIENT_ID", "me")
        monkeypatch.setenv("COPPICE_CLIENT_SECRET", "hush")
        assert list(Client().jobs()) == []
        assert list(Client(key="you:very:secret").jobs()) == []
    keys = [(one.headers["X-IBM-Client-Id"], one.headers["X-IBM-Client-Secret"]) for one in server.asked]
    assert keys == [("me", "hush"), ("you", "very:secret")]


def test_a_client_without_a_service_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COPPICE_SERVER", raising=False)
    with pytest.raises(ParameterMissing, match="COPPICE_SERVER"):
        Client()
    with pytest.raises(ParameterInvalid, match="ID:SECRET"):
        Client("http://127.0.0.1:1", key="half")
