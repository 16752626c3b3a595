"""Every model of keras.applications, written by each framework in each of its formats, through Coppice and home.

    .venv/bin/python bench/keras_zoo.py                         all that is not measured yet; stop it at any time
    .venv/bin/python bench/keras_zoo.py --dialect tf212.h5 --only ResNet50 Xception
    .venv/bin/python bench/keras_zoo.py --again failed          those that did not pass, once more
    .venv/bin/python bench/keras_zoo.py --table                 only write bench/keras_zoo.md from what is measured

For each: the framework builds it with random weights, trains it for a moment and saves it; Coppice removes 40 % of
every group; the same framework loads the result, compares it with the original whose removed channels are zeroed, and
trains it one epoch. Where a layer normalisation mixes channels, no masked original equals the result: then the
framework's predictions are held to those of the module that Coppice cut and verified. One process per model, limited in
time and memory. What is measured stands in bench/results/keras_zoo.jsonl, one line per model and dialect.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from coppice.records.report import Check  # noqa: E402
from tests.dialects.files import Dialect, Saved, Zoo, prune, result  # noqa: E402
from tests.dialects.frameworks import Framework  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "keras_zoo.jsonl"
TABLE = ROOT / "bench" / "keras_zoo.md"
DIALECTS = (
    Dialect("tf23", ".h5"),
    Dialect("tf23", ""),
    Dialect("tf212", ".h5"),
    Dialect("tf212", ""),
    Dialect("tf215", ".keras"),
    Dialect("keras3", ".h5"),
    Dialect("keras3", ".keras"),
)
#: One of each family, the small ones first; the others follow by name.
FIRST = (
    "MobileNet",
    "MobileNetV2",
    "EfficientNetB0",
    "ResNet50",
    "DenseNet121",
    "MobileNetV3Small",
    "EfficientNetV2B0",
    "RegNetX002",
    "RegNetY002",
    "NASNetMobile",
    "Xception",
    "InceptionV3",
    "ResNet50V2",
    "ConvNeXtTiny",
    "ResNetRS50",
    "MobileNetV3Large",
    "VGG16",
    "InceptionResNetV2",
)
TOLERANCE = 1e-4  # of float32 through as many as 500 layers, as tests/dialects has it
PERCENT = 0.4
MEMORY = 14 * 1024**3  # of address space, for the framework and for Coppice each
LEGEND = f"""Came home: loaded, equal to the masked original (to {TOLERANCE:g} of the largest output), and trained, in
the version that wrote it, at {PERCENT:.0%} of every group. A cell is parameters that are left, largest relative
difference, seconds of pruning on one thread of a busy machine. `.h5`: the graph of the SavedModel could not be edited,
and that came back. `*`: compared with the module that was cut, because a layer normalisation mixes channels. Bold: the
step that failed. Empty: not measured.""".replace("\n", " ")
Row = dict[str, Any]


def measured(application: str, dialect: Dialect) -> Row:
    """One model all the way; what went wrong is in `failed`, with the step where it did."""
    framework = Framework(dialect.environment)
    row: Row = {"application": application, "dialect": str(dialect), "step": "write"}
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as name:
            out = Path(name) / "out"
            out.mkdir()
            saved = Zoo(lambda _: framework, Path(name)).saved(dialect, application)
            row |= {"step": "prune", "bytes": saved.upload.stat().st_size}
            row |= _pruned(saved, out, row)
    except AssertionError as e:  # FrameworkError too: the framework's own traceback
        row["failed"] = _without_place(str(e)).strip()[-600:] or "an assertion"
    except Exception as e:  # noqa: BLE001  # whatever stops a model is the finding
        row["failed"] = _without_place(f"{type(e).__name__}: {e}")[:600]
    finally:
        framework.close()
    return row | {"seconds": round(time.monotonic() - started, 1)}


def _pruned(saved: Saved, out: Path, row: Row) -> Row:
    started = time.monotonic()
    report = prune(saved, out, PERCENT)
    row |= {
        "prune_seconds": round(time.monotonic() - started, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "parameters": [report.before.parameters, report.after.parameters],
        "macs": [report.before.macs, report.after.macs],
        "verified": str(report.verification.check),
        "frozen": sum(one.channels for one in report.frozen),
        "channels": sum(one.channels for one in report.groups) + sum(one.channels for one in report.frozen),
        "removed": sum(one.removed for one in report.groups),
        "step": "load",
    }
    written = out / report.artifacts[0].file
    if written.suffix != saved.upload.suffix:
        row |= {"written_as": written.suffix, "why": next(note for note in report.notes if "can't be edited" in note)}
        home = written
    else:
        home = result(saved, report, out)
    answer = saved.framework.ask("compare", original=saved.path, pruned=home)
    row |= {"difference": answer["difference"], "step": "compare"}
    assert answer["parameters"] == row["parameters"], f"it counts {answer['parameters']} parameters"
    assert answer["trained"]["moved"], "fit moved nothing"
    if row["verified"] == Check.EXACT:
        assert answer["difference"] < TOLERANCE, f"differs from the masked original by {answer['difference']:.1e}"
    else:
        row["difference"] = _from_interpreter(saved, home, written, out)
        assert row["difference"] < TOLERANCE, f"differs from the module that was cut by {row['difference']:.1e}"
    return row | {"step": "done"}


def _from_interpreter(saved: Saved, home: Path, written: Path, out: Path) -> float:
    """How far the framework's predictions are from those of Coppice's interpreter of the same file."""
    import numpy as np
    import torch

    from coppice.formats.keras.network import open_model
    from coppice.formats.keras.source import FORMATS
    from coppice.formats.sniff import sniff

    inputs, outputs = out / "inputs.npz", out / "outputs.npz"
    saved.framework.ask("predict", file=home, inputs=inputs, outputs=outputs)
    module = open_model(FORMATS[sniff(written)].read(written, written.name)).network.module
    with np.load(inputs) as given, np.load(outputs) as wanted, torch.no_grad():
        found = module(*(torch.from_numpy(given[name]) for name in given.files)).numpy()
        expected = wanted[wanted.files[0]]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def in_a_process(application: str, dialect: Dialect, seconds: int) -> Row:
    """`measured` in a process of its own."""
    command = [sys.executable, __file__, "--one", application, "--dialect", str(dialect)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    row = {"application": application, "dialect": str(dialect), "step": "limits"}
    try:
        told, words = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return row | {"failed": f"more than {seconds} s", "seconds": seconds}
    finally:
        _end(process)
    lines = [line for line in told.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else row | {"failed": f"died ({process.returncode}): {words[-400:]}"}


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and the framework that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def limit_memory() -> None:
    """For this process and those that it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def known() -> dict[tuple[str, str], Row]:
    """What is measured: the last line of each model and dialect."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {(row["application"], row["dialect"]): row for row in map(json.loads, lines)}


def keep(rows: dict[tuple[str, str], Row]) -> None:
    """Write what is measured, sorted, and the table of it."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(f"{json.dumps(rows[key], sort_keys=True)}\n" for key in sorted(rows)))
    TABLE.write_text(table(list(rows.values())))


def table(rows: list[Row]) -> str:
    """The page: one line per application, one column per dialect."""
    dialects = [str(dialect) for dialect in DIALECTS]
    names = sorted({row["application"] for row in rows})
    by_key = {(row["application"], row["dialect"]): row for row in rows}
    passed = [row for row in rows if "failed" not in row]
    lines = [
        "# keras.applications through Coppice",
        "",
        f"Made by `bench/keras_zoo.py`. {len(passed)} of {len(rows)} measured files came home. {LEGEND}",
        "",
        f"| application | {' | '.join(dialects)} |",
        f"|---|{'---|' * len(dialects)}",
        *(f"| {name} | {' | '.join(_cell(by_key.get((name, one))) for one in dialects)} |" for name in names),
    ]
    lines += _reasons(rows)
    return "\n".join(lines) + "\n"


def _without_place(words: str) -> str:
    """Without the folder in which this repository happens to lie."""
    return words.replace(f"{ROOT}/", "")


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if "failed" in row:
        return f"**{row['step']}**"
    before, after = row["parameters"]
    star = "" if row["verified"] == Check.EXACT else "*"
    kind = f", {row['written_as']}" if "written_as" in row else ""
    return f"{after / before:.0%}, {row['difference']:.0e}{star}, {row['prune_seconds']:.0f} s{kind}"


def _reasons(rows: list[Row]) -> Iterator[str]:
    failed = [row for row in rows if "failed" in row]
    if failed:
        yield from ("", "## What did not pass", "", "The step that failed, and its last words.", "")
    for row in failed:
        words = " ".join(row["failed"].replace("|", "/").split())
        yield f"- {row['application']}, {row['dialect']}, {row['step']}: {words[-300:]}"


def cases(asked: argparse.Namespace, rows: dict[tuple[str, str], Row]) -> Iterator[tuple[str, Dialect]]:
    """What to measure, in order."""
    dialects = [one for one in DIALECTS if not asked.dialect or str(one) in asked.dialect]
    have = {}
    for environment in dict.fromkeys(one.environment for one in dialects):
        framework = Framework(environment)
        if framework.ready:
            have[environment] = framework.ask("applications")["names"]
            framework.close()
        else:
            print(f"{environment} is not set up: scripts/dialects {environment}", file=sys.stderr)
    every = sorted({name for names in have.values() for name in names})
    for name in asked.only or [*FIRST, *(one for one in every if one not in FIRST)]:
        for dialect in dialects:
            row = rows.get((name, str(dialect)))
            again = row is None or asked.again == "all" or (asked.again == "failed" and "failed" in row)
            if name in have.get(dialect.environment, ()) and again:
                yield name, dialect


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dialect", nargs="*", choices=[str(one) for one in DIALECTS], help="only these")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only these applications")
    parser.add_argument("--again", choices=["failed", "all"], help="measure again what is measured")
    parser.add_argument("--seconds", type=int, default=1200, help="limit of one model")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        limit_memory()
        dialect = next(one for one in DIALECTS if str(one) in asked.dialect)
        print(json.dumps(measured(asked.one, dialect)))
        return
    rows = known()
    for name, dialect in [] if asked.table else list(cases(asked, rows)):
        row = in_a_process(name, dialect, asked.seconds)
        rows[name, str(dialect)] = row
        keep(rows)
        print(f"{name:<20}{dialect!s:<18}{row.get('failed') or _cell(row)}"[:200], flush=True)
    keep(rows)


if __name__ == "__main__":
    main()
