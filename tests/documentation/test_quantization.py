"""The page of bench/quantization.py is made from its results, and those keep what is promised of them."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from bench.rounding import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = table.read(ROOT / "bench" / "results" / "quantization.jsonl")


def accuracy(bits: int, way: str, what: str = "accuracy") -> float:
    """Of the small network on the digits, the mean of three seeds."""
    found = [
        row for row in RESULTS if (row["data"], row["net"], row["bits"], row["way"]) == ("digits", "small", bits, way)
    ]
    assert {row["seed"] for row in found} == {0, 1, 2}
    return mean(float(row[what]) for row in found)


def test_the_page_is_what_the_generator_makes() -> None:
    assert (ROOT / "bench" / "quantization.md").read_text() == table.page(RESULTS)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.0), (4, 0.001), (2, 0.006), (1, 0.014)])
def test_the_default_loses_no_more_than_the_study_that_it_was_made_from(bits: int, most: float) -> None:
    """There 4, 2 and 1 bits came to 99.1, 98.5 and 97.7 of 99.1 %; one of 797 images is 0.13 points."""
    assert accuracy(bits, "gptq", "dense") - accuracy(bits, "gptq") <= most + 0.0013


def test_calibration_is_what_saves_few_bits() -> None:
    for bits in (4, 2, 1):
        decibels = [accuracy(bits, way, "snr_db") for way in ("no samples, no edges", "no samples", "nearest", "gptq")]
        assert decibels == sorted(decibels)


def test_four_numbers_are_better_than_three() -> None:
    assert accuracy(2, "gptq", "snr_db") > accuracy(2, "gptq, ternary", "snr_db") + 1


def test_a_line_tells_seeds_mean_and_noise() -> None:
    names = ("data", "net", "bits", "way", "dense", "bits_per_weight", "seconds")
    row: dict[str, Any] = dict(zip(names, ("digits", "small", 2, "gptq", 0.99, 2.5, 1.0), strict=True))
    rows = [{**row, "seed": seed, "accuracy": 0.9 + seed / 100, "snr_db": 20.0 + seed} for seed in (0, 1)]

    page = table.page(rows)

    assert "| 2 | gptq | 2.50 | 90.0 / 91.0 | 90.5 | 20.5 | 1.0 |" in page
    assert "In floats 99.0 / 99.0, mean 99.0." in page
