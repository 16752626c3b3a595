"""How parameters are typed: one reader for each, and what can't be asked for together."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.criteria import CRITERIA as TABLE
from coppice.errors import CoppiceError
from coppice.http.parameters import PARAMETERS
from coppice.records.call import PARAMETERS as CLIENT_NAMES
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import CRITERIA, MOST, SHOWN, Heads, Part, Request, Spread, Target, Task
from coppice.records.terms import READERS as TERM_READERS
from coppice.records.terms import Terms
from coppice.records.texts import READERS, written
from coppice.settings import Settings
from tests.http.service import served
from tests.http.test_inspect import KERAS, accepted


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        ("percents", "0.6, 0.2,0.4", (0.2, 0.4, 0.6)),
        ("criterion", " obs ", "obs"),
        ("spread", "GLOBAL", Spread.GLOBAL),
        ("target", "macs", Target.MACS),
        ("max_drop", "0.01", 0.01),
        ("round_to", "16", 16),
        ("ratios", "layer1=0.3, fc*=0.7,", {"layer1": 0.3, "fc*": 0.7}),
        ("keep", "conv1=5,0,3;fc1=0-3,7", {"conv1": (0, 3, 5), "fc1": (0, 1, 2, 3, 7)}),
        ("restore", "False", False),
        ("percents", "0.5,0", (0.0, 0.5)),
        ("precision", " INT8", Precision.INT8),
        ("precisions", "float32, int4", (Precision.FLOAT32, Precision.INT4)),
        ("weights", "int2", Precision.INT2),
        ("activations", "dynamic", Activations.DYNAMIC),
        ("layers", "conv1=int8, fc*=float32,", {"conv1": Precision.INT8, "fc*": Precision.FLOAT32}),
        ("rounding", "gptq", Rounding.GPTQ),
        ("source_txid", " CF06E766-2d20-41ec-931e-0242ac170002", "cf06e766-2d20-41ec-931e-0242ac170002"),
    ],
)
def test_a_text_is_read(attribute: str, text: str, value: object) -> None:
    assert READERS[attribute](text) == value


@pytest.mark.parametrize(
    ("attribute", "text", "code", "says"),
    [
        ("percents", "", "parameter_invalid", "0.2,0.4,0.6,0.8"),
        ("percents", "0.2,20", "percent_out_of_range", "For 20 % write 0.2"),
        ("percents", "0.2,0.20", "parameter_invalid", "0.2 twice"),
        ("percents", "0.123456", "parameter_invalid", "4 digits"),
        ("percents", ",".join(f"0.{number:02}" for number in range(1, 34)), "parameter_invalid", "33 ratios"),
        ("criterion", "l3", "unknown_criterion", "l1, l2"),
        ("spread", "even", "parameter_invalid", "uniform, global"),
        ("target", "flops", "parameter_invalid", "macs"),
        ("max_drop", "1.5", "parameter_invalid", "For 1.5 % write 0.015"),
        ("max_drop", "0", "parameter_invalid", "0 < max_drop"),
        ("max_drop", "nan", "parameter_invalid", "outside"),
        ("round_to", "0", "parameter_invalid", "from 1 to 1024"),
        ("round_to", "8.5", "parameter_invalid", "whole number"),
        ("ratios", "0.3", "parameter_invalid", "names no layer"),
        ("ratios", "conv1=all", "parameter_invalid", "not a number"),
        ("ratios", "conv1=30", "percent_out_of_range", "write 0.3"),
        ("ratios", "conv1=0.3,conv1=0.4", "parameter_invalid", "given twice"),
        ("keep", "conv1=0:3", "parameter_invalid", "conv1=0,3,5"),
        ("keep", "conv1=0-99999999", "parameter_invalid", "no number or range"),
        ("keep", "conv1=5-3", "parameter_invalid", "numbers of channels"),
        ("keep", ";".join(f"c{layer}=0-9999999" for layer in range(9999)), "parameter_invalid", "more than 100,000"),
        ("restore", "maybe", "parameter_invalid", "neither true nor false"),
        ("precision", "int3", "parameter_invalid", "bfloat16, float16, int32, int8, int4, int2, int1"),
        ("activations", "int4", "parameter_invalid", "int8, uint8, dynamic"),
        ("precisions", "int8,int8", "parameter_invalid", "one twice"),
        ("precisions", ",", "parameter_invalid", "none"),
        ("layers", "conv1=int3", "parameter_invalid", "layers: conv1='int3'"),
        ("layers", "int4", "parameter_invalid", "conv1=int8,fc*=int4"),
        ("layers", "conv1=int4,conv1=int8", "parameter_invalid", "given twice"),
        ("rounding", "up", "parameter_invalid", "gptq, adaround"),
        ("source_txid", "latest", "parameter_invalid", "no transaction id"),
    ],
)
def test_a_text_that_means_nothing_says_what_to_write(attribute: str, text: str, code: str, says: str) -> None:
    with pytest.raises(CoppiceError) as raised:
        READERS[attribute](text)

    assert (raised.value.code, raised.value.field) == (code, attribute)
    assert says in raised.value.message


EVERYTHING: dict[str, Any] = {
    "framework": Framework.PYTORCH,
    "task": Task.SWEEP,
    "percents": (0.25, 0.5),
    "precisions": (Precision.FLOAT32, Precision.INT4),
    "omit": ("fc1", "layer1.*"),
    "criterion": "obs",
    "spread": Spread.GLOBAL,
    "target": Target.BYTES,
    "round_to": 8,
    "ratios": {"conv1": 0.125, "fc*": 0.5},
    "keep": {"conv1": (0, 3)},
    "restore": False,
    "layers": {"conv1": Precision.INT8, "fc*": Precision.INT2},
    "rounding": Rounding.CLIPPED,
    "output_format": Format.SAFETENSORS,
    "biases": Precision.FLOAT16,
    "source_txid": "cf06e766-2d20-41ec-931e-0242ac170002",
    "seed": 7,
    "heads": Heads.WHOLE,
    "input_size": (Input(shape=(3, 8, 8)), Input(shape=(), dtype="int64", below=9)),
    "model_name": "Net",
    "model_args": {"classes": 10},
}


def test_what_is_written_is_read_as_the_same() -> None:
    request = Request.model_validate(EVERYTHING)
    for name in EVERYTHING.keys() - {"task"}:
        value = getattr(request, name)
        assert READERS[name](written(name, value)) == value, name


def test_the_calls_have_a_parameter_for_every_attribute_and_the_client_knows_its_name() -> None:
    names = {parameter.attribute: parameter.name for parameter in PARAMETERS if parameter.of is Request}
    assert names.keys() == READERS.keys() == Request.model_fields.keys() - {"task", "files"}
    assert {attribute: name for attribute, name in names.items() if attribute != name} == {
        **CLIENT_NAMES,
        "framework": "model_type",  # which the client says by the call
    }


def test_the_calls_have_a_parameter_for_every_attribute_of_the_terms() -> None:
    names = {parameter.attribute: parameter.name for parameter in PARAMETERS if parameter.of is Terms}
    assert names.keys() == TERM_READERS.keys() == Terms.model_fields.keys()
    assert all(attribute == name for attribute, name in names.items())


def test_the_servers_criteria_are_those_of_the_engine() -> None:
    assert ("auto", *TABLE) == CRITERIA


@pytest.mark.parametrize(
    ("asked", "percent"),
    [
        ({"max_drop": 0.01}, MOST),
        ({"max_drop": 0.01, "percent": 0.5}, 0.5),
        ({"task": Task.INSPECT}, SHOWN),
        ({"task": Task.SWEEP, "percents": (0.25, 0.75)}, 0.75),
    ],
)
def test_percent_is_said_by_something_else(asked: dict[str, Any], percent: float) -> None:
    assert Request.model_validate({"framework": Framework.KERAS, **asked}).percent == percent


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({}, "parameter_missing", "percent"),
        ({"max_drop": 0.01, "target": Target.MACS}, "parameter_invalid", "max_drop"),
        ({"task": Task.SWEEP, "percent": 0.5}, "parameter_missing", "percents"),
        ({"task": Task.SWEEP, "percents": (0.5,), "max_drop": 0.1}, "parameter_invalid", "max_drop"),
        ({"percent": 0.5, "percents": (0.5,)}, "parameter_invalid", "percents"),
        ({"task": Task.SWEEP, "percents": (0.0, 0.5)}, "parameter_invalid", "percents"),
        ({"task": Task.QUANTIZE}, "parameter_missing", "precision"),
        ({"task": Task.QUANTIZE, "precision": "int8", "percent": 0.5}, "parameter_invalid", "percent"),
        ({"task": Task.QUANTIZE, "precision": "int2", "output_format": "tflite"}, "precision_impossible", "weights"),
        ({"percent": 0.5, "precision": "int8", "max_drop": 0.1}, "parameter_invalid", "max_drop"),
    ],
)
def test_what_contradicts_is_refused(asked: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(CoppiceError) as raised:
        Request.model_validate({"framework": Framework.KERAS, **asked})

    assert (raised.value.code, raised.value.field) == (code, field)


def test_a_call_carries_every_wish(settings: Settings) -> None:
    query = {
        "max_drop": "0.02",
        "criterion": "taylor",
        "spread": "global",
        "round_to": "8",
        "ratios": "dense=0.2",
        "keep": "conv=0-2",
        "restore": "false",
    }
    files = {**KERAS, "dataset": ("samples.npz", b"PK")}
    request = accepted(settings, served(settings).post("/api/tf_prune", params=query, files=files))
    assert {name: written(name, getattr(request, name)) for name in query} == {**query, "keep": "conv=0,1,2"}
    assert (request.percent, request.files[Part.DATASET]) == (MOST, "samples.npz")
