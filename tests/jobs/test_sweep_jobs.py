"""A sweep through a real service: one transaction, a curve, and a model and a report for every ratio."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

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


def test_a_sweep_of_which_nothing_comes_fails_with_the_reasons(service: Service) -> None:
    sent = service.post("pt_sweep", {**QUERY, "percents": "0.01,0.02"}, pytorch())
    end = service.end(sent.json()["txid"])
    assert (end["status"], end["code"]) == (FAILED, "nothing_to_prune")
    assert "0.02 of its 6 channels" in end["message"]
