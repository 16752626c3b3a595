"""Fewer bits through a real service: of a model as it is sent, of an earlier job's result, and of a cut in one job."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from coppice.records.report import Arithmetic, Report
from coppice.settings import Settings
from tests.hostile.case import saved
from tests.serving import DONE, FAILED, Files, Service, serving

pytestmark = pytest.mark.slow

QUERY = {"input_size": "1,8,8", "model_name": "Net"}
CLASS = b"""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3)
        self.second = nn.Conv2d(16, 64, 3)
        self.head = nn.Linear(64 * 16, 4)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(torch.flatten(x, 1))
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("quantize") / "data", port=0, tls=False)) as service:
        yield service


def model() -> Files:
    """A state dict with its class."""
    numbers = torch.Generator().manual_seed(3)
    shapes = {"first": (16, 1, 3, 3), "second": (64, 16, 3, 3), "head": (4, 1024)}
    state = {f"{name}.weight": torch.randn(shape, generator=numbers) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.randn(shape[0], generator=numbers) for name, shape in shapes.items()}
    return {"weights": ("net.pth", saved(state)), "class_def": ("net.py", CLASS)}


def inputs() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(5).normal(size=(160, 1, 8, 8)).astype(np.float32)


def samples() -> Files:
    """Inputs without labels."""
    buffer = io.BytesIO()
    np.savez(buffer, x=inputs())
    return {"dataset": ("samples.npz", buffer.getvalue())}


def send(service: Service, call: str, query: dict[str, str], files: Files) -> str:
    answer = service.post(call, query, files)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["txid"])


def download(service: Service, txid: str, artifact: str = "") -> bytes:
    answer = service.client.get("/api/download", params={"txid": txid, "artifact": artifact})
    assert answer.status_code == 200, answer.text
    return answer.content


def outputs(file: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What a stock ONNX Runtime gives for the samples."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run(None, {"input": inputs()})[0]
    return found


def types_of(file: bytes) -> set[int]:
    return {tensor.data_type for tensor in onnx.load_from_string(file).graph.initializer}


def test_a_pruned_result_is_quantized_without_being_sent_again(service: Service) -> None:
    pruned = send(service, "pt_prune", {**QUERY, "percent": "0.5"}, {**model(), **samples()})
    early = service.post("pt_quantize", {"precision": "int8", "source_txid": pruned}, samples())
    if early.status_code != 200:  # as long as the cut is not done
        assert (early.status_code, early.json()["code"]) == (409, "result_not_ready")
    assert service.end(pruned)["status"] == DONE

    txid = send(service, "pt_quantize", {"precision": "int8", "source_txid": pruned}, samples())
    end = service.end(txid)
    assert end["status"] == DONE, end
    assert end["message"].startswith("Quantized: int8 ")
    assert "computed in integers by ONNX Runtime" in end["message"].splitlines()[0]
    assert end["filename"].endswith(".onnx")

    file, floats = download(service, txid), download(service, pruned, "onnx")
    assert TensorProto.INT8 in types_of(file)
    assert len(file) < len(floats)
    signal, noise = outputs(floats), outputs(file) - outputs(floats)
    assert 10 * np.log10(np.square(signal).sum() / np.square(noise).sum()) > 20
    report = Report.model_validate_json(download(service, txid, "report"))
    assert report.quantized is not None
    assert report.quantized.arithmetic is Arithmetic.INTEGER
    assert report.quantized.file_bytes == len(file)
    # Half the channels were gone before: what was quantized is the cut.
    assert {layer.name: layer.parameters for layer in report.quantized.layers} == {
        "first": 8 * 9,
        "second": 32 * 8 * 9,
        "head": 4 * 32 * 16,
    }


def test_a_cut_is_quantized_in_the_same_job(service: Service) -> None:
    query = {**QUERY, "percent": "0.5", "quantize": "int4", "layers": "second=int8"}
    txid = send(service, "pt_prune", query, model())
    end = service.end(txid)
    assert end["status"] == DONE, end
    assert end["filename"].endswith(".pt")
    state = torch.load(io.BytesIO(download(service, txid, "state_dict")), weights_only=True)
    assert state["second.weight"].shape == (32, 8, 3, 3)
    report = Report.model_validate_json(download(service, txid, "report"))
    assert report.quantized is not None
    assert report.quantized.arithmetic is Arithmetic.FLOAT
    assert (report.request.percent, report.after.parameters) == (0.5, sum(entry.numel() for entry in state.values()))
    assert np.isfinite(outputs(download(service, txid, "quantized"))).all()


def test_what_can_not_be_quantized_fails_with_the_reason(service: Service) -> None:
    txid = send(service, "pt_quantize", {**QUERY, "precision": "int4", "layers": "fc9=int8"}, model())
    end = service.end(txid)
    assert (end["status"], end["code"]) == (FAILED, "unknown_layer"), end
    assert "fc9" in end["message"]
    assert "head" in end["message"]
