"""Parameters that mean nothing are refused when they arrive: no job, no file."""

from __future__ import annotations

import pytest

from tests.hostile.case import Case, End, asked, pytorch
from tests.serving import Service

pytestmark = pytest.mark.slow


def percent(value: str, code: str, *says: str) -> Case:
    return Case(http=400, code=code, says=(f"percent={value}", *says), query=asked(percent=value))


CASES = {
    "no percent": Case(
        http=400, code="parameter_missing", says=("percent is missing", "0.4"), query=asked(percent=None)
    ),
    "percent of a hundred": percent("40", "percent_out_of_range", "0 <= percent < 1", "For 40 % write 0.4"),
    "a negative percent": percent("-1", "percent_out_of_range", "0 <= percent < 1"),
    "all channels": percent("1.0", "percent_out_of_range", "0 <= percent < 1"),
    "percent that is no number": percent("nan", "percent_out_of_range", "0 <= percent < 1"),
    "percent that is infinite": percent("inf", "percent_out_of_range", "0 <= percent < 1"),
    "percent that is a word": Case(
        http=400, code="parameter_invalid", says=("'abc' is not a number", "0.4"), query=asked(percent="abc")
    ),
    "two percents": Case(
        http=400,
        code="parameter_invalid",
        says=("percent is given twice", "Give it once"),
        files=lambda: {**pytorch(), "percent": (None, b"0.3")},  # type: ignore[dict-item]  # a field has no file name
    ),
    "no input_size": Case(
        http=400, code="input_size_invalid", says=("input_size is missing", "1,28,28"), query=asked(input_size=None)
    ),
    "input_size that is a word": Case(
        http=400, code="input_size_invalid", says=("'large'", "write 1,28,28"), query=asked(input_size="large")
    ),
    "a huge input_size": Case(
        http=400,
        code="input_size_invalid",
        says=("10,000,000,000 numbers", "the limit is 67,108,864"),
        query=asked(input_size="1,100000,100000"),
    ),
    "a negative input_size": Case(
        http=400, code="input_size_invalid", says=("below 1",), query=asked(input_size="1,-8,8")
    ),
    "no model_name": Case(
        http=400, code="parameter_missing", says=("model_name is missing", "Net"), query=asked(model_name=None)
    ),
    "code for a model_name": Case(
        http=400,
        code="parameter_invalid",
        says=("is not the name of a class", "e.g. Net"),
        query=asked(model_name="__import__('os').system('id')"),
    ),
    "an input of a type that is none": Case(
        http=400,
        code="input_size_invalid",
        says=("'int65' is no type", "int64"),
        query=asked(input_size="1,8,8;5:int65"),
    ),
    "a limit for fractions": Case(
        http=400,
        code="input_size_invalid",
        says=("a limit such as <100 is for whole numbers",),
        query=asked(input_size="1,8,8:float32<5"),
    ),
    "arguments that are no JSON": Case(
        http=400,
        code="parameter_invalid",
        says=("model_args='{classes: 3}' is not JSON", '{"classes": 10}'),
        query=asked(model_args="{classes: 3}"),
    ),
    "arguments that are one number": Case(
        http=400, code="parameter_invalid", says=("neither an object nor an array",), query=asked(model_args="3")
    ),
    "arguments as deep as a well": Case(
        http=400, code="parameter_invalid", says=("is not JSON",), query=asked(model_args="[" * 2_000)
    ),
    "an index of shards by its name": Case(
        http=415,
        code="unsupported_media_type",
        says=("is an index of shards", "st.save_file"),
        files=lambda: {**pytorch(), "weights": ("model.safetensors.index.json", b"{}")},
    ),
    "a parameter that is not there": Case(
        http=400,
        code="parameter_invalid",
        says=("'percentage'", "Did you mean percent?"),
        query=asked(percentage="0.4"),
    ),
    "no weights": Case(
        http=400,
        code="parameter_missing",
        says=("weights is missing", "--form weights=@"),
        files=lambda: {"class_def": pytorch()["class_def"]},
    ),
    "an empty file": Case(
        http=422, code="empty_file", says=("'small.pth' is empty", "saved"), files=lambda: pytorch(weights=b"")
    ),
    "a class file named like a module of Python": Case(
        http=415,
        code="unsupported_media_type",
        says=("hide the module pickle", "Rename it"),
        files=lambda: {**pytorch(), "class_def": ("pickle.py", b"x = 1")},
    ),
    "a path for a file name": Case(
        http=415,
        code="unsupported_media_type",
        says=("does not end in .py",),
        files=lambda: {**pytorch(), "class_def": ("../../../../etc/passwd", b"x = 1")},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_parameter_is_refused_at_once(case: Case, refused: End) -> None:
    assert refused.http >= 400


@pytest.mark.parametrize("call", ["pt_prune", "edgeai/run/api/tf_prune"])
def test_a_refused_upload_has_no_transaction(service: Service, call: str) -> None:
    answer = service.client.post(f"/api/{call}" if "/" not in call else f"/{call}", params={"percent": "40"})
    assert answer.status_code == 400
    assert answer.json()["txid"] == "N/A"
