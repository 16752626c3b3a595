"""ONNX files of several exporters through Coppice, and what ONNX Runtime says of them.

    .venv/bin/python bench/onnx_exports/by_torch.py FOLDER                 export by both of torch's exporters
    OTHER_PYTHON bench/onnx_exports/by_tf2onnx.py FOLDER                   ... and by_keras.py
    .venv/bin/python bench/onnx_zoo.py FOLDER                              prune all that is not measured yet
    .venv/bin/python bench/onnx_zoo.py                                     only write bench/onnx_zoo.md

A file's folder is its exporter, its name the model and the opset: `tf2onnx/resnet50_15.onnx`. Half of every group is
removed. A file passes where ONNX Runtime gives the same as the interpreter for the original and for the result, and
(unless layer norms mix channels) the same for the result as for the masked original. The times are those of one thread,
by turns. What is measured stands in bench/results/onnx_zoo.jsonl, one line per file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from coppice import pipeline  # noqa: E402
from coppice.errors import CoppiceError  # noqa: E402
from coppice.records.frameworks import Framework  # noqa: E402
from coppice.records.request import Part, Request  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "onnx_zoo.jsonl"
TABLE = ROOT / "bench" / "onnx_zoo.md"
PERCENT = 0.5
HEAD = f"""# ONNX files through Coppice

Made by `bench/onnx_zoo.py`: {PERCENT:.0%} of every group. Check: what the cut model was held to (`statistics`: norms
mix channels); ONNX Runtime confirmed every file that has one. Channels: removed of those that could be, and those of
groups that stay for another reason than being the output. Processor time of one thread, in milliseconds.

| exporter | model | opset | check | channels | kept | parameters left | before | after | faster |
|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Measure what the folder holds, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    known = {(row["exporter"], row["file"]) for row in _rows()}
    for path in sorted(folder.glob("*/*.onnx")) if folder else ():
        if (path.parent.name, path.stem) not in known:
            row = {"exporter": path.parent.name, "file": path.stem, **_measured(path)}
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    TABLE.write_text(HEAD + "".join(f"{_line(row)}\n" for row in sorted(_rows(), key=_place)))


def _measured(path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    request = Request(framework=Framework.ONNX, percent=PERCENT, files={Part.MODEL: path.name})
    with tempfile.TemporaryDirectory() as out:
        try:
            report = pipeline.run(request, {Part.MODEL: path}, Path(out), lambda _: None)
        except CoppiceError as e:
            return {"refused": f"{type(e).__name__}: {e}"[:300]}
    return {
        "check": report.verification.check,
        "channels": sum(group.channels for group in report.groups),
        "removed": sum(group.removed for group in report.groups),
        "kept": sum(entry.channels for entry in report.frozen if entry.reason != "output of the model"),
        "reasons": sorted({entry.reason for entry in report.frozen if entry.reason != "output of the model"})[:8],
        "parameters": [report.before.parameters, report.after.parameters],
        "milliseconds": [report.before.latency_ms, report.after.latency_ms],
        "seconds": round(time.perf_counter() - start, 1),
    }


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def _place(row: dict[str, Any]) -> tuple[str, str]:
    return row["exporter"], row["file"]


def _line(row: dict[str, Any]) -> str:
    model, _, opset = row["file"].rpartition("_")
    if "refused" in row:
        return f"| {row['exporter']} | {model} | {opset} | {row['refused']} | | | | | | |"
    (parameters, left), (before, after) = row["parameters"], row["milliseconds"]
    return (
        f"| {row['exporter']} | {model} | {opset} | {row['check']} | {row['removed']:,} of {row['channels']:,} "
        f"| {row['kept']:,} | {left / parameters:.0%} | {before:.2f} | {after:.2f} | {before / after:.1f} x |"
    )


if __name__ == "__main__":
    main()
