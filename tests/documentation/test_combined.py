"""The tables of bench/combined.py are made from its results, and those keep what is promised of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.combining import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = table.read(ROOT / "bench" / "results" / "combined.jsonl")


def test_the_page_is_what_the_generator_makes() -> None:
    assert (ROOT / "bench" / "combined.md").read_text() == table.page(RESULTS)


def test_the_readme_shows_what_the_generator_makes() -> None:
    readme = (ROOT / "README.md").read_text()

    assert table.with_table(readme, RESULTS) == readme


def test_half_cut_and_in_eight_bits_is_a_fourteenth_and_within_a_point() -> None:
    found = [row for row in RESULTS if row["percent"] == 0.5 and row["precision"] == "int8"]

    assert {(row["model"], row["format"]) for row in found} == {
        ("pytorch", "onnx"),
        ("keras", "onnx"),
        ("keras", "tflite"),
    }
    for row in found:
        assert row["bytes"] * 14 <= row["original_bytes"], row
        assert row["dense"] - row["accuracy"] <= 0.01, row


def test_a_line_says_what_was_lost_and_how_much_smaller_and_faster_it_is() -> None:
    names = ("model", "percent", "precision", "format", "arithmetic")
    row: dict[str, Any] = dict(zip(names, ("keras", 0.5, "int8", "tflite", "integer"), strict=True))
    row |= {"dense": 0.99, "accuracy": 0.985, "original_bytes": 3000, "bytes": 200, "milliseconds": 0.5, "against": 1.5}

    assert (
        "| Keras document | 50% | int8 | `.tflite`, LiteRT | 200 | 1/15.0 | in integers | 98.50 | +0.50 | 3.00 |"
    ) in table.excerpt([row]).splitlines()


def test_a_later_line_of_the_same_case_counts(tmp_path: Path) -> None:
    line = '{{"model": "keras", "percent": 0.5, "precision": "int8", "format": "onnx", "accuracy": {}}}\n'
    (tmp_path / "lines").write_text(line.format(0.1) + line.format(0.2))

    assert [row["accuracy"] for row in table.read(tmp_path / "lines")] == [0.2]
