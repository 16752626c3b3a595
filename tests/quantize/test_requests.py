"""What can't be asked of precision is refused before any file is read, with the nearest that can be had."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from coppice.errors import ParameterInvalid, ParameterMissing, PrecisionImpossible
from coppice.records.frameworks import Framework
from coppice.records.quantization import CAPABILITIES, Activations, Format, Numbers, Precision
from coppice.records.request import Request, Task


def quantizing(framework: Framework = Framework.PYTORCH, **asked: Any) -> Request:
    return Request.model_validate({"framework": framework, "task": Task.QUANTIZE, **asked})


def test_a_precision_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match=r"'float32', 'bfloat16'.*'int2' or 'int1'"):
        quantizing(precision="int3")


def test_a_precision_is_needed() -> None:
    with pytest.raises(ParameterMissing, match="precision=int8"):
        quantizing()


@pytest.mark.parametrize(
    ("framework", "asked", "says"),
    [
        (Framework.PYTORCH, {"precision": "bfloat16", "output_format": "onnx"}, ("format=safetensors",)),
        (Framework.PYTORCH, {"precision": "int8", "output_format": "tflite"}, ("onnx", "safetensors")),
        (Framework.ONNX, {"precision": "int8", "output_format": "tflite"}, ("format=onnx",)),
        (
            Framework.KERAS,
            {"precision": "int2", "output_format": "tflite"},
            ("weights=int4", "biases=float32", "activations=dynamic", "format=onnx"),
        ),
        (
            Framework.PYTORCH,
            {"precision": "int8", "activations": "uint8", "biases": "int8"},
            ("weights=int8, biases=int32, activations=uint8",),
        ),
        (
            Framework.PYTORCH,
            {"precision": "int8", "activations": "uint8", "output_format": "safetensors"},
            ("weights=int8, biases=float32, activations=float32", "but format=onnx"),
        ),
    ],
    ids=str,
)
def test_what_a_file_cannot_hold_is_refused_with_the_nearest_that_it_can(
    framework: Framework, asked: dict[str, Any], says: tuple[str, ...]
) -> None:
    with pytest.raises(PrecisionImpossible) as caught:
        quantizing(framework, **asked)

    assert caught.value.field is not None
    for part in says:
        assert part in caught.value.message


@pytest.mark.parametrize("framework", Framework)
@pytest.mark.parametrize("told", Format)
@pytest.mark.parametrize("weights", [one for one in Precision if one is not Precision.INT32])
@pytest.mark.parametrize("activations", Activations)
def test_the_nearest_that_is_told_can_be_asked_for(
    framework: Framework, told: Format, weights: Precision, activations: Activations
) -> None:
    asked = {"weights": weights, "activations": activations, "output_format": told}
    try:
        request = quantizing(framework, **asked)
    except PrecisionImpossible as e:
        nearest = e.message.partition("Nearest: ")[2].partition(". ")[0].rstrip(".")
        if (framework, told) not in CAPABILITIES:
            first = nearest.removeprefix("format=").split(",")[0]
            assert (framework, Format(first)) in CAPABILITIES
            return
        told_numbers = dict(pair.split("=") for pair in nearest.split(", "))
        found = quantizing(framework, output_format=told, **told_numbers).quantization
        assert found is not None
        assert found.numbers == Numbers(
            weights=Precision(told_numbers["weights"]),
            biases=Precision(told_numbers["biases"]),
            activations=Activations(told_numbers["activations"]),
        )
    else:
        assert request.quantization is not None


def test_a_quantization_cuts_nothing() -> None:
    with pytest.raises(ParameterInvalid, match="quantize cuts nothing"):
        quantizing(precision="int8", percent=0.5)
