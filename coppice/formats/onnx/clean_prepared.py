"""A script, not a module of ours: what onnxruntime's own tools make of an ONNX file before few bits are put in.

Run by `clean_process` as `python -I clean_prepared.py`; the paths of job and verdict come on standard input. The job
names one of TASKS, the model and the file to write; the verdict is an error, or nothing.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

#: Operators that end the process in half precision on a processor (ONNX Runtime 1.31, fused with the bias before them).
CRASHES_IN_HALF = ["Gelu"]

Job = dict[str, Any]


def main(job_file: str, verdict_file: str) -> None:
    """Do one job."""
    job = json.loads(Path(job_file).read_text())
    tempfile.tempdir = job["folder"]  # the system's may be small
    try:
        TASKS[job["task"]](job)
        error = ""
    except Exception as e:  # noqa: BLE001  # whatever the tools say
        error = f"{type(e).__name__}: {(str(e).strip().splitlines() or ['no reason given'])[0][:300]}"
    Path(verdict_file).write_text(json.dumps(error))


def fold(job: Job) -> None:
    """Compute what depends on constants alone, and fold batch norms: in standard operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = job["out"]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])


def calibrate(job: Job) -> None:
    """Quantize activations by the smallest and the largest values that samples give, and weights along with them."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
        """The samples, a batch at a time."""

        def __init__(self) -> None:
            self._batches = batches(job)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """Nothing at the end."""
            return next(self._batches, None)

    quantize_static(
        job["model"],
        job["out"],
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=job["operators"] or None,
        nodes_to_exclude=job["excluded"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8 if job["activations"] == "uint8" else QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, job["method"]),
        extra_options={"QuantizeBias": job["whole_biases"]},
    )


def batches(job: Job) -> Iterator[dict[str, NDArray[Any]]]:
    """The samples as the model takes them; a number for all samples has no rows."""
    arrays = {name[1:]: array for name, array in np.load(job["samples"]).items()}
    count = next(array.shape[0] for array in arrays.values() if array.ndim)
    # One that is fixed has to be full.
    for start in range(0, count - count % job["batch"] or count, job["batch"]):
        yield {name: array[start : start + job["batch"]] if array.ndim else array for name, array in arrays.items()}


def half(job: Job) -> None:
    """Compute in half precision, and take and give single precision."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = convert_float_to_float16(
        onnx.load(job["model"]),
        keep_io_types=True,
        node_block_list=job["excluded"],
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *CRASHES_IN_HALF],
    )
    onnx.save(model, job["out"])


TASKS: dict[str, Callable[[Job], None]] = {"fold": fold, "calibrate": calibrate, "half": half}

if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
