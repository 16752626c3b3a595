"""Accuracy after a cut: our defaults against Torch-Pruning, the same networks, images, samples and retraining.

    .venv/bin/python bench/one_shot.py --mnist mnist.npz     all that is not measured yet; stop it at any time
    .venv/bin/python bench/one_shot.py --only 'digits/*'     some networks, by data and name
    .venv/bin/python bench/one_shot.py --again coppice       what these engines came to, once more
    .venv/bin/python bench/one_shot.py --table               write the tables from what is measured

Needs the `bench` extra. MNIST (in the layout of `keras.datasets.mnist`) is measured where its file is given, here or as
COPPICE_MNIST; the digits always. What is measured stands in bench/results/one_shot.jsonl, one line per data set,
network, seed, engine and ratio; bench/one_shot.md and the table of the README are made from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.accuracy import data, table  # noqa: E402
from bench.accuracy.engines import ENGINES  # noqa: E402
from bench.accuracy.measure import Row, rows  # noqa: E402
from bench.accuracy.nets import NETS  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "one_shot.jsonl"
PAGE, README = ROOT / "bench" / "one_shot.md", ROOT / "README.md"
SEEDS, RATIOS = (0, 1, 2), (0.5, 0.7, 0.3)


def main() -> None:
    """Measure what is asked for and not measured yet, then write the tables."""
    asked = _arguments()
    results = Path(asked.results)
    if not asked.table:
        _measure(asked, results)
    if results == RESULTS:
        found = table.read(results)
        PAGE.write_text(table.page(found))
        README.write_text(table.with_table(README.read_text(), found))


def _measure(asked: argparse.Namespace, results: Path) -> None:
    results.touch()
    measured = {(r["data"], r["net"], r["seed"], r["engine"], r["ratio"]): r for r in table.read(results)}
    mnist = Path(asked.mnist) if asked.mnist else None
    workers = ProcessPoolExecutor(asked.jobs, mp_context=multiprocessing.get_context("spawn"))
    pending = []
    for ratio in asked.ratios:  # the first ratio of all networks first, so that a run that is stopped is of use
        for images in data.DATA:
            if data.opened(images, mnist) is None:
                print(f"{images}: left out, no file is given")
                continue
            for name in (name for name in NETS if images in NETS[name].data):
                for seed in asked.seeds:
                    wanted = [
                        engine
                        for engine in asked.engines
                        if (images, name, seed, engine, ratio) not in measured or engine in asked.again
                    ]
                    if wanted and fnmatchcase(f"{images}/{name}", asked.only):
                        pending.append(
                            workers.submit(rows, name, images, seed, ratio, wanted, Path(asked.cache), mnist)
                        )
    with workers:
        for done in as_completed(pending):
            with results.open("a") as lines:
                for row in done.result():
                    lines.write(json.dumps(row) + "\n")
                    _say(row)


def _say(row: Row) -> None:
    curves = "  ".join(f"{start} {' '.join(f'{v:.1%}' for v in values)}" for start, values in row["curves"].items())
    print(
        f"{row['data']}/{row['net']:<9}{row['seed']} {row['ratio']} {row['engine']:<21}"
        f"{row['macs']:4.0%} {row['seconds']:6.1f} s  dense {row['dense']:.1%}  {curves}  {row['chosen'] or ''}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default=os.environ.get("COPPICE_MNIST"), metavar="FILE", help="mnist.npz")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="data/network, e.g. 'mnist/*'")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--again", nargs="+", default=[], choices=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time, one thread each")
    parser.add_argument("--cache", default=str(Path(gettempdir()) / "coppice-one-shot"), help="of the trained networks")
    parser.add_argument("--results", default=str(RESULTS), help="where the lines go; another place writes no table")
    parser.add_argument("--table", action="store_true", help="write the tables and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
