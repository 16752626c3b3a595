"""The committed tables, from the results alone: the page of the benchmark and the excerpt in the README."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

KEY = ("model", "percent", "precision", "format")
BEGINS, ENDS = "<!-- combined: made by bench/combined.py -->\n", "<!-- end of combined -->\n"
_TITLES = {"pytorch": "PyTorch document", "keras": "Keras document"}
_PRECISIONS = ("float32", "float16", "int8", "int4", "int2", "int1")
_RUNTIMES = {"onnx": "ONNX Runtime", "tflite": "LiteRT"}
#: What products are computed in -> in words.
_COMPUTED = {"integer": "in integers", "mixed": "mixed", "float": "in floats", None: "in floats"}
#: The cut of the README.
SHOWN = 0.5

_HEAD = ("model", "cut", "weights", "file", "bytes", "of the original", "computes", "accuracy", "lost", "speed")

_INTRODUCTION = """# Cut, repaired, quantized

Made by `bench/combined.py`, which says how: the documents' two models, trained on 20,000 images of MNIST by the
programs of the demo, through the pipeline with 512 of those images, without retraining. What came back ran on all
10,000 test images in its own runtime, outside of Coppice.

- **of the original**: the file that was sent is so many times as large. The Keras document's `.h5` carries the state
  of its optimizer, as large again as its weights.
- **lost**: points of accuracy against the model as it was sent, in its own framework.
- **speed**: the original's time over the file's, one image on one thread, by turns in the same runtime: above 1 is
  faster. The original is an ONNX file in floats, or a `.tflite` in float16, with which LiteRT computes in floats. Two
  shared x86 cores under load: a tenth is noise.
- **int4**, **int2** and **int1** keep eight bits in the first and the last layer.
- **computes**: what the runtime multiplies in. *In floats* means that few bits are how the weights are stored.
"""

_CAPTION = """Test accuracy in percent on MNIST's 10,000 test images, run in the file's own runtime; no retraining. *Of
the original*: the file that was sent is so many times as large. *Computes in floats*: few bits are how the weights are
stored. *Speed*: the original's time over the file's in the same runtime, one image on one thread. Below eight bits the
first and the last layer keep eight.
"""


def read(results: Path) -> list[Row]:
    """The last row of each case."""
    rows = map(json.loads, results.read_text().splitlines())
    return list({tuple(row[name] for name in KEY): row for row in rows}.values())


def page(rows: Sequence[Row]) -> str:
    """The whole of bench/combined.md."""
    return f"{_INTRODUCTION}\n{_table(_HEAD, (_line(row) for row in _ordered(rows)))}"


def with_table(readme: str, rows: Sequence[Row]) -> str:
    """The README with its table made anew, between the marks."""
    before, rest = readme.split(BEGINS)
    _, after = rest.split(ENDS)
    return f"{before}{BEGINS}{excerpt(rows)}{ENDS}{after}"


def excerpt(rows: Sequence[Row]) -> str:
    """The README's table: half of all channels cut."""
    lines = [_line(row) for row in _ordered(rows) if row["percent"] == SHOWN]
    return f"\n{_table(_HEAD, lines)}\n{_CAPTION}"


def _ordered(rows: Iterable[Row]) -> list[Row]:
    return sorted(
        rows,
        key=lambda row: (
            list(_TITLES).index(row["model"]),
            -row["percent"],
            _PRECISIONS.index(row["precision"]),
            -list(_RUNTIMES).index(row["format"]),
        ),
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        _TITLES[row["model"]],
        f"{row['percent']:.0%}" if row["percent"] else "",
        row["precision"],
        f"`.{row['format']}`, {_RUNTIMES[row['format']]}",
        f"{row['bytes']:,}",
        f"1/{row['original_bytes'] / row['bytes']:.1f}",
        _COMPUTED[row.get("arithmetic")],
        f"{100 * row['accuracy']:.2f}",
        f"{100 * (row['dense'] - row['accuracy']):+.2f}",
        f"{row['against'] / row['milliseconds']:.2f}",
    )


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
