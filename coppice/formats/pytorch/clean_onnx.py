"""A script, not a module of ours: run an ONNX file by onnxruntime and compare its outputs with those that were saved.

Run by `clean_process` as `python -I clean_onnx.py`; the paths of job and verdict come on standard input. The verdict is
a list of failures.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

#: onnxruntime sums in another order and fuses layers; relative to the largest output.
TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 2e-2}


def main(job_file: str, verdict_file: str) -> None:
    """Run the saved batches, one of them a single sample: the batch must be free."""
    job = json.loads(Path(job_file).read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    failures = []
    for batch in job["batches"]:
        inputs, expected = list(np.load(batch["inputs"]).values()), list(np.load(batch["outputs"]).values())
        found = session.run(None, dict(zip(names, inputs, strict=True)))
        if not all(close(a, b) for a, b in zip(found, expected, strict=True)):
            failures.append(f"gives other outputs for inputs of {', '.join(str(entry.shape) for entry in inputs)}")
    Path(verdict_file).write_text(json.dumps(failures))


def close(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Equal to rounding."""
    if found.shape != expected.shape:
        return False
    allowed = TOLERANCE.get(expected.dtype.name, 0) * float(np.abs(expected).max(initial=0))
    return bool(np.allclose(found, expected, rtol=0, atol=allowed, equal_nan=True))


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
