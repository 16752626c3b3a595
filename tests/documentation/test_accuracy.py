"""The tables of bench/one_shot.py are made from its results, and say of them what is true."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.accuracy import data, table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = table.read(ROOT / "bench" / "results" / "one_shot.jsonl")


def test_the_readme_shows_what_the_generator_makes() -> None:
    readme = (ROOT / "README.md").read_text()

    assert table.with_table(readme, RESULTS) == readme


def test_the_page_is_what_the_generator_makes() -> None:
    assert (ROOT / "bench" / "one_shot.md").read_text() == table.page(RESULTS)


def test_a_point_at_which_the_other_is_ahead_is_listed_and_no_other() -> None:
    ours = _rows("coppice", cut=(0.2, 0.3, 0.4), restored=(0.9, 0.7, 0.8))
    theirs = [*_rows("torch-pruning l1", cut=(0.5, 0.8, 0.6)), *_rows("torch-pruning l2", cut=(0.1, 0.2, 0.7))]

    listed = table.page([*ours, *theirs]).partition("## Where")[2].partition("##")[0]

    assert "At 1 of 3 points" in listed
    assert "| digits | ResNet-14 | 50% | 40 steps | 70.0 ± 0.0 | 80.0 ± 0.0 | -10.0 ± 0.0 |" in listed


def test_the_readme_has_the_best_criterion_of_the_other_at_each_point() -> None:
    ours = _rows("coppice", cut=(0.2, 0.3, 0.4), restored=(0.9, 0.91, 0.92))
    theirs = [*_rows("torch-pruning l1", cut=(0.5, 0.8, 0.6)), *_rows("torch-pruning l2", cut=(0.1, 0.2, 0.7))]

    lines = table.excerpt([*ours, *theirs]).splitlines()

    assert "| digits | ResNet-14 | 95.0 | 50.0 |  | **90.0** | 80.0 | **91.0** | 70.0 | **92.0** |" in lines


def test_mnist_is_left_out_where_there_is_no_file(tmp_path: Path) -> None:
    assert data.DATA["mnist"](None) is None
    assert data.DATA["mnist"](tmp_path / "mnist.npz") is None


def test_a_later_line_of_the_same_measurement_counts(tmp_path: Path) -> None:
    named = ("digits", "resnet", 0, "coppice", 0.5)
    line = '{{"data": "{}", "net": "{}", "seed": {}, "engine": "{}", "ratio": {}, "dense": {}}}\n'
    (tmp_path / "lines").write_text(line.format(*named, 0.1) + line.format(*named, 0.2))

    assert [row["dense"] for row in table.read(tmp_path / "lines")] == [0.2]


def _rows(engine: str, **curves: Iterable[float]) -> list[dict[str, Any]]:
    named = {"data": "digits", "net": "resnet", "engine": engine, "ratio": 0.5}
    costs = {"dense": 0.95, "macs": 0.25, "parameters": 0.25, "seconds": 1.0, "chosen": None}
    return [{**named, **costs, "seed": seed, "curves": curves} for seed in (0, 1)]
