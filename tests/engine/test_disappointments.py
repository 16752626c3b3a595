"""What a quantized file did not win is a warning, and what the runs can't tell apart is not called slower."""

from __future__ import annotations

import pytest

from coppice.quantizing import disappointments
from tests.pages.accounts import quantized_file


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"latency_ms": 0.7}, ["slower here than in floats: one sample takes 0.7 ms in ONNX Runtime 1.31.1"]),
        # The difference of 0.01 ms lies within the range of the floats' runs, 0.02 ms.
        ({"latency_ms": 0.51}, ["not faster here than in floats", "0.02 ms"]),
        ({"latency_ms": None}, []),
        ({"file_bytes": 38001}, ["not smaller: 38,001 bytes, in floats 38,000"]),
    ],
)
def test_what_was_not_won_is_said(changes: dict[str, object], says: list[str]) -> None:
    found = disappointments(quantized_file().model_copy(update=changes))
    assert len(found) == (1 if says else 0)
    assert all(said in sentence for sentence in found for said in says)
