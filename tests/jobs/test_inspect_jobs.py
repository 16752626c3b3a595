"""`inspect` through a real service: a job in the sandbox as any other, whose result is what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from coppice.records.report import Inspection
from coppice.records.request import Task
from coppice.settings import Settings
from tests.hostile.case import pytorch
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential
from tests.serving import DONE, FAILED, Files, Service, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("inspect") / "data", port=0, tls=False)) as service:
        yield service


def inspected(service: Service, query: Mapping[str, str], files: Files) -> tuple[str, Inspection]:
    """The message of the job's end, and what the download gives."""
    answer = service.post("inspect", query, files)
    assert answer.status_code == 200, answer.text
    txid = answer.json()["txid"]
    end = service.end(txid)
    assert end["status"] == DONE, end
    assert end["filename"].endswith(".json")
    download = service.client.get("/api/download", params={"txid": txid})
    assert download.headers["content-type"] == "application/json"
    return end["message"], Inspection.model_validate_json(download.content)


def test_a_pytorch_model_is_told_of_and_not_pruned(service: Service) -> None:
    message, found = inspected(service, {"input_size": "1,8,8", "model_name": "Small"}, pytorch())
    (group,) = found.groups
    assert (group.name, group.channels) == ("conv", 6)
    assert group.parameters == pytest.approx(78 / 81)
    assert found.request.task is Task.INSPECT
    assert [artifact.name for artifact in found.artifacts] == ["inspection", "report_html"]
    assert message == found.summary
    assert "conv" in message


def test_a_keras_model_is_told_of_by_the_other_prefix_too(service: Service) -> None:
    model = {"model": ("mnist_base.h5", sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))}
    answer = service.client.post("/edgeai/run/api/inspect", files=model)
    assert service.end(answer.json()["txid"])["status"] == DONE
    message, found = inspected(service, {"model_type": "tf", "percent": "0.4"}, model)
    assert all(group.removed == round(group.channels * 0.4) for group in found.groups)
    assert all(group.name in message for group in found.groups)
    assert found.frozen


def test_a_file_that_is_no_model_fails_as_it_does_for_pruning(service: Service) -> None:
    answer = service.post("inspect", {}, {"model": ("lenet.h5", b"nothing of the kind")})
    end = service.end(answer.json()["txid"])
    assert (end["status"], end["field"]) == (FAILED, "model")
