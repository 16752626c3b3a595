"""Grids are read off weights, whatever became of their scales: by the script, in the environment that it runs in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import coppice.formats.tflite
from tests.tflite.runtime import ask

pytestmark = pytest.mark.slow

_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import clean_quantize
random = np.random.default_rng(0)
told = {}
for bits, largest in ((8, 127), (4, 7)):
    codes = random.integers(-largest, largest + 1, size=(6, 3, 3, 5))
    codes[0, ..., 0] = 0                        # nothing of this channel is left
    codes[..., 1] = np.clip(codes[..., 1], -3, 3)  # the largest number does not occur
    factors = np.float32([1e-6, 0.1, 3.0, 1e4, 7e-3]) * np.float32(0.3)  # of a batch norm
    weights = codes.astype(np.float32) * factors
    codes[0, 0, 0, 2:] = largest
    weights = codes.astype(np.float32) * factors
    scales = clean_quantize.scales_of(weights, 3, largest)
    told[str(bits)] = float(np.abs(np.round(weights / scales) * scales / factors - codes).max())
told["gaps"] = clean_quantize.scales_of(np.float32([[3, 5, -7]]) * 0.1, 0, 127).tolist()
told["none"] = clean_quantize.scales_of(random.normal(size=(2, 400)), 0, 127) is None
told["zero"] = clean_quantize.scales_of(np.zeros((2, 3)), 0, 7).tolist()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(_PROGRAM, str(Path(coppice.formats.tflite.__file__).parent)))
    return answer


@pytest.mark.parametrize("bits", ["8", "4"])
def test_the_weights_are_found_again_to_the_last_code(told: dict[str, Any], bits: str) -> None:
    assert told[bits] < 1e-3


def test_neighbours_of_the_grid_need_not_occur(told: dict[str, Any]) -> None:
    """The smallest distance of two is 0.2 here, of which 0.3 is no multiple."""
    assert told["gaps"] == pytest.approx([0.1], rel=1e-6)


def test_weights_on_no_grid_have_none(told: dict[str, Any]) -> None:
    assert told["none"] is True


def test_a_channel_of_zeros_is_on_every_grid(told: dict[str, Any]) -> None:
    assert told["zero"] == [1.0, 1.0]
