"""A script, not a module of ours: run a quantized ONNX file by onnxruntime, say what it is run with, and time it.

Run by `clean_process` as `python -I clean_quantized.py`; the paths of job and verdict come on standard input. The
verdict holds the runtime's version, a failure or none, the products of the graph as the runtime optimized it, and the
median and the spread of the milliseconds of the float file and of the quantized one.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

#: All timed runs together, and the most pairs of them.
BUDGET_SECONDS, MAX_PAIRS = 1.5, 300

#: Operators that multiply by a constant -> the inputs where it may be.
FLOATING = {
    "Attention": (1,),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Einsum": (0, 1),
    "FusedConv": (1,),
    "FusedGemm": (1,),
    "FusedMatMul": (0, 1),
    "GRU": (1,),
    "Gemm": (0, 1),
    "LSTM": (1,),
    "MatMul": (0, 1),
    "NhwcFusedConv": (1,),
    "RNN": (1,),
}
WHOLE = {
    "ConvInteger": (1,),
    "DynamicQuantizeLSTM": (1,),
    "DynamicQuantizeMatMul": (1,),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "QAttention": (1,),
    "QGemm": (0, 3),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
}
PRODUCTS = {**FLOATING, **WHOLE}

Arrays = dict[str, NDArray[Any]]


def main(job_file: str, verdict_file: str) -> None:
    """Run the files of one job."""
    job = json.loads(Path(job_file).read_text())
    folder = Path(job["folder"])
    verdict: dict[str, Any] = {"version": onnxruntime.__version__, "failure": ""}
    try:
        session = opened(job["quantized"], folder / "optimized.onnx")
        verdict["products"] = products(folder / "optimized.onnx")
        inputs, sample = loaded(folder / "inputs.npz"), loaded(folder / "sample.npz")
        rows = [session.run(None, fed(session, batch)) for batch in batches(inputs, job["batch"])]
        # A number for all samples comes once for each batch.
        outputs = [np.concatenate([np.atleast_1d(one) for one in leaf]) for leaf in zip(*rows, strict=True)]
        count = rows_of(inputs)
        outputs = [one[:count] for one in outputs]
        np.savez(folder / "outputs.npz", *outputs)
        verdict["latencies"] = timed([opened(job["floats"]), session], sample)
    except Exception as e:  # noqa: BLE001  # whatever the runtime says
        verdict["failure"] = f"{type(e).__name__}: {(str(e).strip().splitlines() or ['no reason given'])[0][:300]}"
    Path(verdict_file).write_text(json.dumps(verdict))


def opened(path: str, optimized: Path | None = None) -> Any:
    """A file ready to run on one thread, with all that the runtime does by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def loaded(path: Path) -> Arrays:
    """Inputs by name, in order."""
    return {name[1:]: array for name, array in np.load(path).items()}


def fed(session: Any, inputs: Arrays) -> Arrays:
    """What the file takes; half precision was computed in single."""
    return {
        entry.name: inputs[entry.name].astype(np.float16) if "float16" in entry.type else inputs[entry.name]
        for entry in session.get_inputs()
    }


def batches(inputs: Arrays, size: int) -> Iterator[Arrays]:
    """As many samples at a time as the file takes, the last again and again where the last batch isn't full."""
    count = rows_of(inputs)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield {name: array[rows] if array.ndim else array for name, array in inputs.items()}


def rows_of(inputs: Arrays) -> int:
    """How many samples there are; a number for all samples has no rows."""
    return next(int(array.shape[0]) for array in inputs.values() if array.ndim)


def products(path: Path) -> list[tuple[str, str, bool]]:
    """The nodes that multiply by constants in the graph as it is run: operator, name, and whether in whole numbers."""
    graph = onnx.load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    found = []
    for node in graph.node:  # in the order of the run
        if node.input and all(name in constant or not name for name in node.input):
            constant.update(node.output)
        places = PRODUCTS.get(node.op_type, ())
        if any(len(node.input) > place and node.input[place] in constant for place in places):
            found.append((node.op_type, node.name, node.op_type in WHOLE))
    return found


def timed(sessions: list[Any], sample: Arrays) -> list[list[float]]:
    """Median and spread of the milliseconds of each, by turns, so that a busy machine slows both alike."""
    times: list[list[float]] = [[] for _ in sessions]
    feeds = [fed(session, sample) for session in sessions]
    for session, feed in zip(sessions, feeds, strict=True):
        session.run(None, feed)
    end = time.perf_counter() + BUDGET_SECONDS
    while not times[0] or (time.perf_counter() < end and len(times[0]) < MAX_PAIRS):
        for session, feed, entry in zip(sessions, feeds, times, strict=True):
            # Of this thread, the only one: in wall time the longer of two runs waits more for the machine's other work.
            start = time.thread_time()
            session.run(None, feed)
            entry.append((time.thread_time() - start) * 1000)
    quartiles = [np.percentile(entry, [25, 50, 75]) for entry in times]
    return [[float(middle), float(high - low)] for low, middle, high in quartiles]


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
