"""A script, not a module of ours: run ONNX files by onnxruntime, compare what they give, and time two of them.

Run by `clean_process` as `python -I clean_runtime.py`; the paths of job and verdict come on standard input. The verdict
holds failures by kind, and the median and the spread of the milliseconds before and after.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

#: The runtime sums in another order and fuses layers; relative to the largest output.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "float16": 2e-2}
#: All timed runs together, and the most pairs of them.
BUDGET_SECONDS, MAX_PAIRS = 1.0, 200

Arrays = list[NDArray[Any]]


def main(job_file: str, verdict_file: str) -> None:
    """Judge the files of one job."""
    job = json.loads(Path(job_file).read_text())
    folder = Path(job["folder"])
    inputs = {name[1:]: array for name, array in np.load(folder / "inputs.npz").items()}
    failures: dict[str, str] = {}
    latencies: list[list[float]] = []
    try:
        original = Session(job["original"], inputs)
        dense = original.run()
    except Exception as e:  # noqa: BLE001  # whatever the runtime says
        failures["original"] = f"ONNX Runtime {onnxruntime.__version__} does not run the model: {first_line(e)}"
    else:
        if worst := difference(dense, stored(folder / "original.npz")):
            failures["interpreted"] = f"Coppice computes this model otherwise than ONNX Runtime: {worst}."
        try:
            pruned = Session(job["pruned"], inputs)
            found = pruned.run()
            if worst := difference(found, stored(folder / "pruned.npz")):
                failures["pruned"] = f"The written file gives other outputs than the pruned model: {worst}."
            elif "masked" in job and (worst := difference(found, Session(job["masked"], inputs).run())):
                failures["pruned"] = f"In ONNX Runtime the written file differs from the masked original: {worst}."
            sample = {name[1:]: array for name, array in np.load(folder / "sample.npz").items()}
            latencies = timed((original.fed(sample), pruned.fed(sample)))
        except Exception as e:  # noqa: BLE001
            failures["pruned"] = f"ONNX Runtime does not run the written file: {first_line(e)}"
    Path(verdict_file).write_text(json.dumps({"failures": failures, "latencies": latencies}))


class Session:
    """One file, ready to run on one thread."""

    def __init__(self, path: str, inputs: dict[str, NDArray[Any]]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.fed(inputs)

    def fed(self, inputs: dict[str, NDArray[Any]]) -> "Session":
        """The session with other inputs for its next runs; half precision was computed in single."""
        self._inputs = {
            entry.name: inputs[entry.name].astype(np.float16) if "float16" in entry.type else inputs[entry.name]
            for entry in self._session.get_inputs()
            if entry.name in inputs
        }
        return self

    def run(self) -> Arrays:
        """The outputs, in the graph's order."""
        found: Arrays = self._session.run(None, self._inputs)
        return found


def stored(path: Path) -> Arrays:
    """Outputs that the interpreter gave."""
    return list(np.load(path).values())


def difference(found: Arrays, expected: Arrays) -> str:
    """What is not equal to rounding, in words; nothing where all is."""
    for number, (got, want) in enumerate(zip(found, expected, strict=True)):
        if got.shape != want.shape:
            return f"output {number} has the shape {got.shape} and not {want.shape}"
        if not want.size:
            continue
        if want.dtype.kind != "f":
            if not np.array_equal(got, want):
                return f"output {number} holds other whole numbers"
            continue
        allowed = TOLERANCE[got.dtype.name]
        got, want = got.astype(np.float64), want.astype(np.float64)
        scale = max(float(np.abs(want[np.isfinite(want)]).max(initial=0)), 1e-30)
        if not np.allclose(got, want, rtol=0, atol=allowed * scale, equal_nan=True):
            worst = float(np.nanmax(np.abs(got - want))) / scale
            return f"output {number} by {worst:.1e} relative"
    return ""


def timed(sessions: tuple[Session, Session]) -> list[list[float]]:
    """Median and spread of the milliseconds of each, by turns, so that a busy machine slows both alike."""
    times: list[list[float]] = [[] for _ in sessions]
    end = time.perf_counter() + BUDGET_SECONDS
    while not times[0] or (time.perf_counter() < end and len(times[0]) < MAX_PAIRS):
        for session, entry in zip(sessions, times, strict=True):
            # Of this thread, the only one: in wall time the longer of two runs waits more for the machine's other work.
            start = time.thread_time()
            session.run()
            entry.append((time.thread_time() - start) * 1000)
    quartiles = [np.percentile(entry, [25, 50, 75]) for entry in times]
    return [[float(middle), float(high - low)] for low, middle, high in quartiles]


def first_line(error: BaseException) -> str:
    """What the runtime says, without its source lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
