"""The calls that quantize: which precisions are taken, by which names, and what is refused before there is a job."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import Part, Request, Task
from coppice.settings import Settings
from tests.http.service import served, uploads_of
from tests.http.test_inspect import KERAS, PT, TORCH, accepted
from tests.http.test_upload import ADDRESSES

ONNX = {"model": ("net.onnx", b"onnx")}
SAMPLES = {"dataset": ("samples.npz", b"PK")}


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_keras_model_is_taken(settings: Settings, address: str) -> None:
    answer = served(settings).post(
        address.format("tf_quantize"), params={"precision": "int8"}, files={**KERAS, **SAMPLES}
    )
    assert accepted(settings, answer) == Request(
        framework=Framework.KERAS,
        task=Task.QUANTIZE,
        percent=0.0,
        precision=Precision.INT8,
        files={Part.MODEL: "lenet.h5", Part.DATASET: "samples.npz"},
    )


def test_every_wish_is_carried(settings: Settings) -> None:
    query = {
        "weights": "int8",
        "biases": "float32",
        "activations": "int8",
        "layers": "conv1=int4,fc*=int8",
        "rounding": "clipped",
        "format": "onnx",
        "max_drop": "0.01",
        "seed": "3",
    }
    answer = served(settings).post("/api/pt_quantize", params={**PT, **query}, files={**TORCH, **SAMPLES})
    found = accepted(settings, answer)
    assert (found.weights, found.biases, found.activations) == (Precision.INT8, Precision.FLOAT32, Activations.INT8)
    assert found.layers == {"conv1": Precision.INT4, "fc*": Precision.INT8}
    assert (found.rounding, found.output_format) == (Rounding.CLIPPED, Format.ONNX)
    assert (found.max_drop, found.seed, found.percent) == (0.01, 3, 0.0)


@pytest.mark.parametrize("name", ["precision", "quantize"])
def test_a_cut_is_quantized_in_the_same_job(settings: Settings, name: str) -> None:
    answer = served(settings).post("/api/onnx_prune", params={"percent": "0.5", name: "int4"}, files=ONNX)
    found = accepted(settings, answer)
    assert (found.task, found.percent, found.precision) == (Task.PRUNE, 0.5, Precision.INT4)


def test_weights_are_a_file_with_a_name_and_a_precision_without(settings: Settings) -> None:
    fields = {**PT, "weights": "int4"}
    for place in ({"params": fields}, {"data": fields}):
        found = accepted(settings, served(settings).post("/api/pt_quantize", files=TORCH, **place))
        assert (found.weights, found.files[Part.WEIGHTS]) == (Precision.INT4, "mnist_cnn.pth")


def test_what_needs_no_samples_is_of_the_kind_of_file_that_was_meant(settings: Settings) -> None:
    answer = served(settings).post("/api/tf_quantize", params={"precision": "int8"}, files=KERAS)
    assert "activations=dynamic needs none" in answer.json()["message"]
    query = {"precision": "int8", "activations": "dynamic", "biases": "float32"}
    assert accepted(settings, served(settings).post("/api/tf_quantize", params=query, files=KERAS)).biases == "float32"


def test_ratios_and_precisions_are_one_sweep(settings: Settings) -> None:
    query = {"percents": "0,0.5", "precisions": "float32,int4"}
    found = accepted(settings, served(settings).post("/api/onnx_sweep", params=query, files=ONNX))
    assert (found.percents, found.precisions) == ((0.0, 0.5), (Precision.FLOAT32, Precision.INT4))


@pytest.mark.parametrize(
    ("call", "query", "code", "field", "says"),
    [
        ("pt_quantize", {}, "parameter_missing", "precision", "precision=int8"),
        ("pt_quantize", {"precision": "int3"}, "parameter_invalid", "precision", "int8, int4, int2, int1"),
        ("pt_quantize", {"precision": "int4", "format": "tflite"}, "precision_impossible", "format", "format=onnx"),
        ("pt_quantize", {"precision": "bfloat16", "format": "onnx"}, "precision_impossible", "weights", "safetensors"),
        ("pt_quantize", {"precision": "int4", "biases": "int2"}, "precision_impossible", "biases", "biases=int4"),
        ("pt_quantize", {"precision": "int8"}, "samples_missing", "dataset", "activations=float32 needs none"),
        ("pt_prune", {"percent": "0.5", "quantize": "int8"}, "samples_missing", "dataset", "the dataset part"),
        ("pt_sweep", {"percents": "0.5", "precisions": "int4,int8"}, "samples_missing", "dataset", "the dataset part"),
        ("pt_quantize", {"precision": "int2"}, "samples_missing", "dataset", "precision=int4 needs none"),
        ("pt_quantize", {"precision": "int4", "rounding": "gptq"}, "samples_missing", "dataset", "rounding=nearest"),
        ("pt_quantize", {"precision": "int4", "percent": "0.5"}, "parameter_invalid", "percent", "takes no 'percent'"),
        ("pt_quantize", {"precision": "int4", "model_type": "tf"}, "parameter_invalid", "model_type", "tf_quantize"),
        ("pt_sweep", {"percents": "0.5", "precision": "int4"}, "parameter_invalid", "precision", "precisions"),
        ("pt_quantize", {"precison": "int4"}, "parameter_invalid", "precison", "Did you mean precision?"),
    ],
)
@pytest.mark.parametrize("place", ["params", "data"])
def test_what_can_not_be_is_refused_with_what_can(
    settings: Settings, call: str, query: dict[str, str], code: str, field: str, says: str, place: str
) -> None:
    given: dict[str, Any] = {place: {**PT, **query}}
    answer = served(settings).post(f"/api/{call}", files=TORCH, **given)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"], body["txid"]) == (400, code, field, "N/A"), body
    assert says in body["message"]
    assert uploads_of(settings) == {}


@pytest.mark.parametrize(
    ("call", "files", "says"),
    [
        ("pt_quantize", {**TORCH, "weights": (None, b"mnist_cnn.pth")}, "--form weights=@FILE"),
        ("tf_quantize", {**KERAS, "weights": ("int4.txt", b"int4")}, "It takes model, file, dataset."),
        ("tf_quantize", {**KERAS, "precision": ("precision.txt", b"int4")}, "Send it as a field"),
    ],
)
def test_a_file_in_the_place_of_a_text_and_the_other_way_round(
    settings: Settings, call: str, files: dict[str, Any], says: str
) -> None:
    query = {"precision": "int4", **(PT if call.startswith("pt") else {})}
    answer = served(settings).post(f"/api/{call}", params=query, files=files)
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert says in answer.json()["message"]


def test_the_inputs_of_a_model_are_asked_for_as_ever(settings: Settings) -> None:
    answer = served(settings).post("/api/pt_quantize", params={"precision": "int4", "model_name": "N"}, files=TORCH)
    assert answer.json()["code"] == "input_size_invalid"
    query = {"precision": "int4", "input_size": "1,8,8"}
    found = accepted(settings, served(settings).post("/api/onnx_quantize", params=query, files=ONNX))
    assert found.input_size == (Input(shape=(1, 8, 8)),)
