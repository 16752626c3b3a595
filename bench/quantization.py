"""Accuracy of weights in few bits: every way to round them, the same networks, images and samples.

    .venv/bin/python bench/quantization.py --mnist mnist.npz     all that is not measured yet; stop it at any time
    .venv/bin/python bench/quantization.py --only 'digits/*'     some networks, by data and name
    .venv/bin/python bench/quantization.py --again gptq          what these ways came to, once more
    .venv/bin/python bench/quantization.py --table               write the page from what is measured

MNIST (in the layout of `keras.datasets.mnist`) is measured where its file is given, here or as COPPICE_MNIST; the
digits always. What is measured stands in bench/results/quantization.jsonl, one line per data set, network, seed, number
of bits and way; bench/quantization.md is made from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.accuracy import data  # noqa: E402
from bench.rounding import table  # noqa: E402
from bench.rounding.measure import NETS, WAYS, Case, row  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "quantization.jsonl"
PAGE = ROOT / "bench" / "quantization.md"
SEEDS, BITS = (0, 1, 2), (8, 4, 2, 1)


def main() -> None:
    """Measure what is asked for and not measured yet, then write the page."""
    asked = _arguments()
    if not asked.table:
        _measure(asked)
    PAGE.write_text(table.page(table.read(RESULTS)))


def _measure(asked: argparse.Namespace) -> None:
    RESULTS.touch()
    known = {tuple(line[name] for name in table.KEY) for line in table.read(RESULTS)}
    mnist = Path(asked.mnist) if asked.mnist else None
    for case in _cases():
        images = data.opened(case.data, mnist)
        new = case.key not in known or case.way in asked.again
        if images is None or not new or not fnmatchcase(f"{case.data}/{case.net}", asked.only):
            continue
        line = row(case, images, Path(asked.cache))
        with RESULTS.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        decibels = "" if line["snr_db"] is None else f"{line['snr_db']:5.1f} dB"
        print(
            f"{case.data}/{case.net:<8}{case.seed} {case.bits} bits {case.way:<18}{line['accuracy']:7.2%} "
            f"(floats {line['dense']:.2%}) {decibels} {line['seconds']:6.1f} s",
            flush=True,
        )


def _cases() -> Iterator[Case]:
    for net, entry in NETS.items():
        for images in entry.data:
            for seed in SEEDS:
                for bits in BITS:
                    for way in WAYS:
                        if bits in WAYS[way].bits:
                            yield Case(data=images, net=net, seed=seed, bits=bits, way=way)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default=os.environ.get("COPPICE_MNIST"), metavar="FILE", help="mnist.npz")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="data/network, e.g. 'mnist/*'")
    parser.add_argument("--again", nargs="+", default=[], choices=list(WAYS), metavar="WAY")
    parser.add_argument("--cache", default=str(Path(gettempdir()) / "coppice-one-shot"), help="of the trained networks")
    parser.add_argument("--table", action="store_true", help="write the page and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
