"""A sweep through a real service: one transaction, a curve, and a model and a report for every ratio."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from coppice.records.report import Report
from coppice.records.sweep import Sweep
from coppice.settings import Settings
from tests.hostile.case import pytorch
from tests.serving import DONE, FAILED, Service, serving

pytestmark = pytest.mark.slow

QUERY = {"input_size": "1,8,8", "model_name": "Small"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("sweep") / "data", port=0, tls=False)) as service:
        yield service


def download(service: Service, txid: str, artifact: str = "") -> bytes:
    answer = service.client.get("/api/download", params={"txid": txid, "artifact": artifact})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_the_curve_is_the_result_and_every_ratio_has_its_files(service: Service) -> None:
    sent = service.post("pt_sweep", {**QUERY, "percents": "0.7,0.01,0.5"}, pytorch())
    assert sent.status_code == 200, sent.text
    txid = sent.json()["txid"]
    end = service.end(txid)
    assert end["status"] == DONE, end
    assert end["filename"].endswith(".json")

    swept = Sweep.model_validate_json(download(service, txid))
    assert end["message"] == swept.summary
    assert [point.percent for point in swept.points] == [0.0, 0.01, 0.5, 0.7]
    assert swept.points[1].error is not None
    assert {artifact.name for artifact in swept.artifacts} == {
        *("curve", "curve_html", "bundle"),
        *("model_50", "report_50", "model_70", "report_70"),
    }
    with zipfile.ZipFile(io.BytesIO(download(service, txid, "bundle"))) as archive:
        assert {"curve.json", "curve.html"} <= set(archive.namelist())
        assert {name.partition("/")[0] for name in archive.namelist() if "/" in name} == {"50", "70"}
        for point, width in zip(swept.points[2:], (3, 2), strict=True):
            model, told = (download(service, txid, name) for name in point.artifacts)
            report = Report.model_validate_json(told)
            assert (report.after, report.request.percent) == (point.cost, point.percent)
            files = {artifact.name: f"{point.percent * 100:g}/{artifact.file}" for artifact in report.artifacts}
            assert archive.read(files["model"]) == model
            tensors = torch.load(io.BytesIO(archive.read(files["state_dict"])), weights_only=True)
            assert tensors["conv.bias"].shape == (width,)


def test_a_sweep_by_precisions_gives_the_files_that_its_points_tell_of(service: Service) -> None:
    query = {**QUERY, "percents": "0,0.5", "precisions": "float32,int4", "activations": "float32"}
    sent = service.post("pt_sweep", query, pytorch())
    assert sent.status_code == 200, sent.text
    txid = sent.json()["txid"]
    end = service.end(txid)
    assert end["status"] == DONE, end

    swept = Sweep.model_validate_json(download(service, txid))
    assert [point.spot.label for point in swept.points] == ["0", "0_int4", "50", "50_int4"]
    assert {artifact.name for artifact in swept.artifacts} == {
        *("curve", "curve_html", "bundle", "model_50", "report_50"),
        *("quantized_0_int4", "report_0_int4", "quantized_50_int4", "report_50_int4"),
    }
    inputs = np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)
    for point, width in ((swept.points[1], 6), (swept.points[3], 3)):
        content = download(service, txid, point.artifacts[0])
        assert point.quantized is not None
        assert point.quantized.file_bytes == len(content)
        report = Report.model_validate_json(download(service, txid, point.artifacts[1]))
        assert report.quantized is not None
        assert (report.quantized.file_bytes, report.request.precision) == (len(content), "int4")
        model = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = model.run(None, {model.get_inputs()[0].name: inputs})
        assert np.isfinite(found).all()
        shapes = {tuple(entry.dims) for entry in onnx.load_from_string(content).graph.initializer}
        assert any(width in shape for shape in shapes)
    with zipfile.ZipFile(io.BytesIO(download(service, txid, "bundle"))) as archive:
        assert {name.partition("/")[0] for name in archive.namelist() if "/" in name} == {"0_int4", "50", "50_int4"}


def test_a_sweep_of_which_nothing_comes_fails_with_the_reasons(service: Service) -> None:
    sent = service.post("pt_sweep", {**QUERY, "percents": "0.01,0.02"}, pytorch())
    end = service.end(sent.json()["txid"])
    assert (end["status"], end["code"]) == (FAILED, "nothing_to_prune")
    assert "0.02 of its 6 channels" in end["message"]
