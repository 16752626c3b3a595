"""bench/quantization.md, from the results alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from bench.rounding.measure import NETS, WAYS

Row = Mapping[str, Any]
KEY = ("data", "net", "seed", "bits", "way")

_INTRODUCTION = """# Accuracy of weights in few bits

Made by `bench/quantization.py`, which says how: trained networks, their weights rounded by the step that every job
runs (`coppice.steps.quantize`), activations and biases in floats. Test accuracy in percent for each seed of the
training, its mean, and how far the outputs are from those in floats (signal to noise, decibels, mean of the seeds).

- Calibrated on 256 images of the training set, without their labels. All but the first row of a table keep the first
  and the last layer at eight bits, and say how many bits a weight takes on the mean; a scale for each output of each
  layer comes to that.
- **no samples**: every weight to the nearest, as files are rounded without calibration. **nearest**, **clipped**,
  **gptq**, **adaround**: the `rounding` of a request, with samples, from which every output gets its mean and deviation
  back. **gptq, ternary**: our grid of two bits is -3, -1, 1, 3; here it is -1, 0, 1.
- **CPU s**: of quantizing, with the noting of what the network gives, on one thread.
"""


def read(results: Path) -> list[Row]:
    """The last row of each case."""
    rows = map(json.loads, results.read_text().splitlines())
    return list({tuple(row[name] for name in KEY): row for row in rows}.values())


def page(rows: Sequence[Row]) -> str:
    """The whole of bench/quantization.md."""
    parts = [_INTRODUCTION]
    for net, entry in NETS.items():
        for images in entry.data:
            found = [row for row in rows if (row["net"], row["data"]) == (net, images)]
            if found:
                parts += [f"## {images}, {entry.title}\n", "\n".join(_table(found)) + "\n"]
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    dense = {row["seed"]: row["dense"] for row in rows}
    yield f"In floats {_each(list(dense.values()))}.\n"
    yield "| bits | way | per weight | accuracy by seed | mean | dB | CPU s |"
    yield "| ---: | --- | ---: | --- | ---: | ---: | ---: |"
    for bits in sorted({row["bits"] for row in rows}, reverse=True):
        for way in WAYS:
            found = sorted(
                (row for row in rows if (row["bits"], row["way"]) == (bits, way)), key=lambda row: int(row["seed"])
            )
            if found:
                yield _line(bits, way, found)


def _line(bits: int, way: str, found: Sequence[Row]) -> str:
    accuracies = [row["accuracy"] for row in found]
    decibels = [row["snr_db"] for row in found if row["snr_db"] is not None]
    return (
        f"| {bits} | {way} | {mean(row['bits_per_weight'] for row in found):.2f} | "
        f"{' / '.join(f'{100 * one:.1f}' for one in accuracies)} | {100 * mean(accuracies):.1f} | "
        f"{f'{mean(decibels):.1f}' if decibels else ''} | {mean(row['seconds'] for row in found):.1f} |"
    )


def _each(accuracies: Sequence[float]) -> str:
    return f"{' / '.join(f'{100 * one:.1f}' for one in accuracies)}, mean {100 * mean(accuracies):.1f}"
