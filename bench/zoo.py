"""Every model of the zoo through Coppice and through Torch-Pruning, side by side: half of every group, outputs kept.

    .venv/bin/python bench/zoo.py                            all that is not measured yet; stop it at any time
    .venv/bin/python bench/zoo.py --only 'timm/*' --engine coppice --limit 60
    .venv/bin/python bench/zoo.py --again crashed,limit      those that ended so, once more
    .venv/bin/python bench/zoo.py --table                    only write bench/zoo.md from what is measured

Needs the `bench` extra. Each model runs in a process of its own, on one thread, with random weights and a small input.
Coppice verifies each cut itself; what Torch-Pruning leaves is held to the same oracle, the dense model whose removed
slices are zeroed, found by value. What is measured stands in bench/results/zoo.jsonl, one line per model and engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.models import catalogue, engines, limits, table  # noqa: E402
from bench.models.entry import Entry  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "zoo.jsonl"
TABLE = ROOT / "bench" / "zoo.md"


def main() -> None:
    """Measure what is asked for and not measured yet, then write the table."""
    asked = _arguments()
    results = Path(asked.results)
    rows = _read(results)
    if not asked.table:
        _measure(asked, results, rows)
        rows = _read(results)
    if results == RESULTS:
        TABLE.write_text(table.page(list(rows.values()), [entry.name for entry in _all()]))


def _all() -> list[Entry]:
    return [entry for source in catalogue.SOURCES for entry in catalogue.entries(source)]


def _measure(asked: argparse.Namespace, results: Path, rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    known = _all()
    # In the order of the patterns, so that what matters most can come first.
    wanted = {entry.name: entry for one in asked.only for entry in known if fnmatchcase(entry.name, one)}
    for entry in wanted.values():
        for engine in asked.engine:
            row = rows.get((entry.name, engine))
            if row is not None and row["outcome"] not in asked.again:
                continue
            entry.ready()
            start = time.perf_counter()
            told = limits.within(
                partial(engines.run, entry, engine), seconds=asked.limit, memory=asked.memory * limits.MIB
            )
            row = {"name": entry.name, "engine": engine, "family": entry.family, **told}
            with results.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            cut, all_of = row.get("channels_cut", 0), row.get("channels", 0)
            share = f"{cut / all_of / engines.RATIO:4.0%}" if all_of else "    "
            print(
                f"{entry.name:<48}{engine:<15}{row['outcome']:<9}{share} "
                f"{row.get('seconds', 0):7.1f} s {row['peak_mib']:6} MiB {time.perf_counter() - start:6.0f} s  "
                f"{row.get('why', '')[:90]}",
                flush=True,
            )


def _read(results: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The last row of each model and engine."""
    results.parent.mkdir(exist_ok=True)
    results.touch()
    rows = map(json.loads, results.read_text().splitlines())
    return {(row["name"], row["engine"]): row for row in rows}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="models, e.g. 'timm/*'")
    parser.add_argument("--engine", nargs="+", default=list(engines.ENGINES), choices=list(engines.ENGINES))
    parser.add_argument("--limit", type=float, default=90, metavar="SECONDS", help="CPU seconds of one model")
    parser.add_argument("--memory", type=int, default=16 * 1024, metavar="MIB", help="memory of one model")
    parser.add_argument("--again", type=lambda text: text.split(","), default=[], help="outcomes to measure anew")
    parser.add_argument("--results", default=str(RESULTS), help="where the lines go; another place writes no table")
    parser.add_argument("--table", action="store_true", help="write the table and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
