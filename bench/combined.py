"""The documents' two models, half of their channels cut, repaired and quantized: size, accuracy, speed.

    .venv/bin/python bench/combined.py --mnist mnist.npz     all that is not measured yet
    .venv/bin/python bench/combined.py --only 'keras-0.5-*'  some: model-percent-precision-format
    .venv/bin/python bench/combined.py --again               what is there, too, from new jobs
    .venv/bin/python bench/combined.py --table               write the tables from what is measured

MNIST comes in the layout of `keras.datasets.mnist`, here or as COPPICE_MNIST. The models are trained by the programs of
the demo, the Keras one in its environment `tf212` (`scripts/dialects tf212`); `.tflite` files need the one named
`litert`. Each line of bench/results/combined.jsonl is one job of the pipeline whose file was run on all 10,000 test
images by a script that knows nothing of Coppice; bench/combined.md and the table of the README are made from it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import gettempdir

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.combining import table  # noqa: E402
from bench.combining.measure import Case, row  # noqa: E402
from bench.combining.models import MODELS, RUNTIMES, trained  # noqa: E402
from coppice.errors import CoppiceError  # noqa: E402
from coppice.records.quantization import Format  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "combined.jsonl"
PAGE, README = ROOT / "bench" / "combined.md", ROOT / "README.md"
PERCENTS = (0.5, 0.0)


def main() -> None:
    """Measure what is asked for and not measured yet, then write the tables."""
    asked = _arguments()
    if not asked.table:
        _measure(asked)
    found = table.read(RESULTS)
    PAGE.write_text(table.page(found))
    if table.BEGINS in (readme := README.read_text()):
        README.write_text(table.with_table(readme, found))


def _measure(asked: argparse.Namespace) -> None:
    if asked.mnist is None or not Path(asked.mnist).exists():
        sys.exit("No MNIST is given: --mnist FILE, or COPPICE_MNIST.")
    RESULTS.touch()
    known = {tuple(line[name] for name in table.KEY) for line in table.read(RESULTS)}
    cache = Path(asked.cache)
    for case in _cases():
        if (case.key in known and not asked.again) or not fnmatchcase("-".join(map(str, case.key)), asked.only):
            continue
        if asked.again:
            shutil.rmtree(case.folder(cache), ignore_errors=True)
        if not RUNTIMES[case.kind].python.exists():
            print(f"{case.key}: left out, {RUNTIMES[case.kind].python} is not there")
            continue
        try:
            line = row(case, trained(MODELS[case.model], Path(asked.mnist), cache), cache)
        except CoppiceError as e:
            print(f"{case.key}: {e.code}: {e.message}")
            continue
        with RESULTS.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _cases() -> Iterator[Case]:
    for model, entry in MODELS.items():
        for percent in PERCENTS:
            yield Case(model=model, percent=percent, precision="float32", kind=Format.ONNX)
            for kind, precisions in entry.formats.items():
                for precision in precisions:
                    yield Case(model=model, percent=percent, precision=precision, kind=kind)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default=os.environ.get("COPPICE_MNIST"), metavar="FILE", help="mnist.npz")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="model-percent-precision-format")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--cache", default=str(Path(gettempdir()) / "coppice-combined"), help="of models and results")
    parser.add_argument("--table", action="store_true", help="write the tables and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
