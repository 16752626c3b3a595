"""The committed tables, from the results alone: the page of the benchmark and the excerpt in the README."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from bench.accuracy.nets import NETS

Row = Mapping[str, Any]
#: (data, net, ratio) -> engine -> its rows, one per seed.
Cells = Mapping[tuple[str, str, float], Mapping[str, Sequence[Row]]]

OURS, GLOBAL = "coppice", "coppice global"
#: What a row of the page is read from, in the order of a curve.
POINTS = ("at once", "40 steps", "an epoch")
STARTS = {"cut": "plain cut", "bn": "BN only", "restored": "restored"}
BEGINS, ENDS = "<!-- accuracy: made by bench/one_shot.py -->\n", "<!-- end of accuracy -->\n"
#: The ratio of the README.
SHOWN = 0.5

_INTRODUCTION = """# Accuracy after a cut

Made by `bench/one_shot.py`, which says how: our defaults and three criteria of Torch-Pruning 1.6.1 on the same trained
networks, with the same 512 samples, retrained by the same loop (SGD, momentum 0.9, rate 0.01 as in the Keras document,
down to zero along a cosine over the steps that are told). Test accuracy in percent, mean ± standard deviation over the
seeds of training. A ratio is the share of channels that every group loses, the residual stream and the width of heads
included; the output layer stays.

- **plain cut**: the channels removed, nothing else. **BN only**: the statistics of every batch norm taken anew from the
  samples, by the benchmark, for both engines; Torch-Pruning does not do it. **restored**: what Coppice gives back.
- **coppice**: `coppice.prune(model, percent=ratio, samples=...)`. **coppice global**: the same with `spread="global",
  target="macs"` and the multiply-accumulates that the uniform cut leaves.
- **CPU s**: of cutting, on one thread; Coppice's hold repair, exact check and measuring, Torch-Pruning's nothing of it.
- Digits: 1,000 images to train on, 797 to measure on; MNIST: 6,400 and 4,000. A step of retraining takes 64: an epoch
  is 15 steps, and 100.
"""

_CAPTION = """Test accuracy in percent, the mean of three seeds: at once, after 40 steps of retraining, after an epoch.
Of Torch-Pruning 1.6.1, at each point, the best of L1, L2 and Taylor, from its plain cut or with its batch norms taken
anew from the same 512 samples, which it does not do itself.
"""


def read(results: Path) -> list[Row]:
    """The last row of each data set, network, seed, engine and ratio."""
    rows = map(json.loads, results.read_text().splitlines())
    return list({(r["data"], r["net"], r["seed"], r["engine"], r["ratio"]): r for r in rows}.values())


def page(rows: Sequence[Row]) -> str:
    """The whole of bench/one_shot.md."""
    cells = _cells(rows)
    parts = [_INTRODUCTION, "## Where Torch-Pruning is ahead\n", _behind(cells)]
    for (images, net, ratio), engines in cells.items():
        parts += [f"## {images}, {NETS[net].title}, {ratio:.0%}\n", _curves(engines)]
    return "\n".join(parts)


def with_table(readme: str, rows: Sequence[Row]) -> str:
    """The README with its table made anew, between the marks."""
    before, rest = readme.split(BEGINS)
    _, after = rest.split(ENDS)
    return f"{before}{BEGINS}{excerpt(rows)}{ENDS}{after}"


def excerpt(rows: Sequence[Row]) -> str:
    """The README's table: half of all channels; of Torch-Pruning the best of its criteria at each point."""
    head = (
        *("data", "network", "dense", "plain cut: Torch-Pruning", "BN anew: Torch-Pruning", "restored: **Coppice**"),
        *("40 steps: Torch-Pruning", "40 steps: **Coppice**", "epoch: Torch-Pruning", "epoch: **Coppice**"),
    )
    lines = []
    for (images, net, ratio), engines in _cells(rows).items():
        if ratio == SHOWN and OURS in engines:
            plain = max(mean(column) for column in _theirs(engines, 0, ("cut",)))
            again = max((mean(column) for column in _theirs(engines, 0, ("bn",))), default=None)
            points = [_percent(plain), "" if again is None else _percent(again), _bold(engines, 0)]
            for point in (1, 2):
                points += [_percent(max(map(mean, _theirs(engines, point)))), _bold(engines, point)]
            lines.append((images, NETS[net].title, _percent(mean(r["dense"] for r in engines[OURS])), *points))
    return f"\n{_table(head, lines)}\n{_CAPTION}"


def _bold(engines: Mapping[str, Sequence[Row]], point: int) -> str:
    return f"**{_percent(mean(_column(engines[OURS], 'restored', point)))}**"


def _cells(rows: Iterable[Row]) -> Cells:
    found: dict[tuple[str, str, float], dict[str, list[Row]]] = {}
    order = list(NETS)
    for row in sorted(
        rows, key=lambda r: (r["data"] != "mnist", order.index(r["net"]), r["ratio"], r["engine"], r["seed"])
    ):
        found.setdefault((row["data"], row["net"], row["ratio"]), {}).setdefault(row["engine"], []).append(row)
    return found


def _column(rows: Sequence[Row], start: str, point: int) -> list[float]:
    return [row["curves"][start][point] for row in rows if start in row["curves"]]


def _theirs(
    engines: Mapping[str, Sequence[Row]], point: int, starts: Sequence[str] = ("cut", "bn")
) -> Iterator[list[float]]:
    """Torch-Pruning's accuracies at a point of the curve, one list per criterion and start."""
    for engine, rows in engines.items():
        for start in starts:
            if engine.startswith("torch-pruning") and (column := _column(rows, start, point)):
                yield column


def _behind(cells: Cells) -> str:
    """Every point of every curve at which the best of Torch-Pruning is above our default."""
    head = ("data", "network", "ratio", "point", "Coppice", "best of Torch-Pruning", "difference, seed by seed")
    lines, points = [], 0
    for (images, net, ratio), engines in cells.items():
        if OURS not in engines or not any(True for _ in _theirs(engines, 0)):
            continue
        for number, point in enumerate(POINTS):
            points += 1
            ours, theirs = _column(engines[OURS], "restored", number), max(_theirs(engines, number), key=mean)
            if mean(theirs) > mean(ours):
                apart = _spread([a - b for a, b in zip(ours, theirs, strict=True)])
                lines.append((images, NETS[net].title, f"{ratio:.0%}", point, _spread(ours), _spread(theirs), apart))
    said = (
        f"At {len(lines)} of {points} points, our default against the best of its criteria and starts there, which is "
        "chosen afterwards, on the test images, and so is a little better than any one of them"
    )
    return f"{said}:\n\n{_table(head, lines)}" if lines else f"{said}.\n"


def _curves(engines: Mapping[str, Sequence[Row]]) -> str:
    head = ("engine", "MACs", "parameters", "CPU s", "start", *POINTS)
    lines = []
    for engine, rows in engines.items():
        costs = (*(f"{mean(row[cost] for row in rows):.0%}" for cost in ("macs", "parameters")), _seconds(rows))
        for start, title in STARTS.items():
            if _column(rows, start, 0):
                lines.append((engine, *costs, title, *(_spread(_column(rows, start, n)) for n in range(len(POINTS)))))
                engine, costs = "", ("", "", "")
    dense = _spread([row["dense"] for row in next(iter(engines.values()))])
    return f"dense: {dense}\n\n{_table(head, lines)}"


def _seconds(rows: Sequence[Row]) -> str:
    return f"{mean(row['seconds'] for row in rows):.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _spread(values: Sequence[float]) -> str:
    return _percent(mean(values)) + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
