"""The calls that sweep: several ratios in, one transaction out."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.records.frameworks import Framework
from coppice.records.quantization import Precision
from coppice.records.request import Part, Request, Task
from coppice.settings import Settings
from tests.http.service import served
from tests.http.test_inspect import KERAS, PT, TORCH, accepted
from tests.http.test_upload import ADDRESSES

#: As many ratios as fit in by themselves, and not twice.
MANY = ",".join(f"0.{number:02}" for number in range(1, 18))


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_ratios_of_a_sweep_are_one_job(settings: Settings, address: str) -> None:
    answer = served(settings).post(address.format("tf_sweep"), params={"percents": "0.8,0.2"}, files=KERAS)
    assert accepted(settings, answer) == Request(
        framework=Framework.KERAS, task=Task.SWEEP, percent=0.8, percents=(0.2, 0.8), files={Part.MODEL: "lenet.h5"}
    )


@pytest.mark.parametrize(
    ("call", "files", "framework"),
    [("pt_sweep", TORCH, Framework.PYTORCH), ("onnx_sweep", {"model": ("net.onnx", b"onnx")}, Framework.ONNX)],
)
def test_every_framework_has_its_sweep(
    settings: Settings, call: str, files: dict[str, Any], framework: Framework
) -> None:
    query = {"percents": "0.5", **(PT if framework is Framework.PYTORCH else {})}
    request = accepted(settings, served(settings).post(f"/api/{call}", params=query, files=files))
    assert (request.framework, request.task, request.percents) == (framework, Task.SWEEP, (0.5,))


@pytest.mark.parametrize(
    ("call", "query", "code", "field", "says"),
    [
        ("tf_sweep", {}, "parameter_missing", "percents", "percents=0.2,0.4,0.6,0.8"),
        ("tf_sweep", {"percents": "0,0.4"}, "parameter_invalid", "percents", "the first point of every curve"),
        ("tf_sweep", {"percents": "0.4", "precision": "int4"}, "parameter_invalid", "precision", "precisions"),
        ("tf_sweep", {"percents": "0.4", "weights": "int4"}, "parameter_invalid", "weights", "precisions"),
        ("tf_sweep", {"percents": "0.4", "format": "onnx"}, "parameter_missing", "precisions", "float32,int8"),
        ("tf_sweep", {"precisions": "float32"}, "parameter_invalid", "precisions", "the model as it was sent"),
        ("tf_sweep", {"precisions": "int8,half"}, "parameter_invalid", "precisions", "float16"),
        ("tf_sweep", {"precisions": "int4,int2", "format": "tflite"}, "precision_impossible", "weights", "int2"),
        ("tf_sweep", {"precisions": "int4,float32", "percents": MANY}, "parameter_invalid", "precisions", "32 points"),
        ("tf_prune", {"percent": "0.4", "precisions": "int4"}, "parameter_invalid", "precisions", "no 'precisions'"),
        ("tf_sweep", {"percent": "0.4"}, "parameter_invalid", "percent", "tf_sweep takes no 'percent'"),
        ("tf_sweep", {"percents": "0.4", "max_drop": "0.1"}, "parameter_invalid", "max_drop", "takes no 'max_drop'"),
        ("tf_sweep", {"percents": "0.4", "model_type": "pt"}, "parameter_invalid", "model_type", "Use pt_sweep"),
        ("tf_prune", {"percents": "0.4"}, "parameter_invalid", "percents", "tf_prune takes no 'percents'"),
        ("tf_prune", {"max_drop": "0.1", "target": "macs"}, "parameter_invalid", "max_drop", "one of them"),
    ],
)
def test_what_is_asked_of_the_wrong_call_is_refused(
    settings: Settings, call: str, query: dict[str, str], code: str, field: str, says: str
) -> None:
    answer = served(settings).post(f"/api/{call}", params=query, files=KERAS)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"], body["txid"]) == (400, code, field, "N/A"), body
    assert says in body["message"]


def test_precisions_need_no_ratio(settings: Settings) -> None:
    answer = served(settings).post("/api/onnx_sweep", params={"precisions": "int4"}, files={"model": ("n.onnx", b"o")})
    request = accepted(settings, answer)
    assert (request.percents, request.percent, request.precisions) == ((), 0.0, (Precision.INT4,))
