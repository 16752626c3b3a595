"""A script, not a module of ours: run a `.tflite` file in LiteRT, say what is in it, and time it against its floats.

Run by `clean_process` in the environment of LiteRT; the paths of job and verdict come on standard input. What the file
gives for the samples goes into an `.npz` beside the verdict, an array for each output.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

#: All timed runs together, and the most pairs of them.
BUDGET_SECONDS, MAX_PAIRS = 1.0, 200


def names_of(table: type) -> dict[int, str]:
    """Number -> name, of an enumeration of the schema."""
    return {number: name for name, number in vars(table).items() if isinstance(number, int)}


OPERATORS, TYPES = names_of(schema.BuiltinOperator), names_of(schema.TensorType)
#: Operators that multiply what flows by weights -> where among their inputs both stand.
PRODUCTS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "CONV_3D": (0, 1),
    "BATCH_MATMUL": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (0, 1),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (0, 1),
    "LSTM": (0, 1),
    "RNN": (0, 1),
    "SVDF": (0, 1),
}


class File:
    """One file, ready to run on one thread."""

    def __init__(self, path: str) -> None:
        self._interpreter = litert.Interpreter(path, num_threads=1)
        self._interpreter.allocate_tensors()
        self._signature = self._interpreter.get_signature_runner("serving_default")
        self._inputs = self._signature.get_input_details()

    def run(self, inputs: list[Any]) -> list[Any]:
        """The outputs for one batch, in the order in which Keras gives them."""
        fed = {
            name: inputs[int(name.rpartition("_")[2])].astype(entry["dtype"]) for name, entry in self._inputs.items()
        }
        found = self._signature(**fed)
        return [np.array(found[name]) for name in sorted(found, key=lambda name: int(name.rpartition("_")[2]))]


def main(job_file: str, verdict_file: str) -> None:
    """Run the files of one job."""
    job = json.loads(Path(job_file).read_text())
    samples = [np.load(one) for one in job["samples"]]
    verdict: dict[str, Any] = {"runtime": f"LiteRT {version('ai-edge-litert')}"}
    try:
        files = File(job["floats"]), File(job["model"])
        for file, name in zip(files, ("floats", "outputs"), strict=True):
            np.savez(job[name + "_out"], *outputs(file, samples, job["batch"]))
        first = [rows[: job["batch"]] for rows in samples]
        verdict["latencies"] = timed(files, first)
    except (ValueError, RuntimeError) as e:  # what the interpreter raises
        verdict["failure"] = f"{verdict['runtime']} does not run the file: {str(e).strip()[:300]}"
    verdict |= contents(flatbuffer_utils.read_model(job["model"]))
    Path(verdict_file).write_text(json.dumps(verdict))


def outputs(file: File, samples: list[Any], batch: int) -> list[Any]:
    """Every output for all samples that fill a batch."""
    end = len(samples[0]) - len(samples[0]) % batch
    runs = [file.run([rows[start : start + batch] for rows in samples]) for start in range(0, end, batch)]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def timed(files: tuple[File, File], sample: list[Any]) -> list[list[float]]:
    """Median and spread of the milliseconds of each, by turns, so that a busy machine slows both alike."""
    times: list[list[float]] = [[] for _ in files]
    end = time.perf_counter() + BUDGET_SECONDS
    while not times[0] or (time.perf_counter() < end and len(times[0]) < MAX_PAIRS):
        for file, entry in zip(files, times, strict=True):
            # Of this thread, the only one: in wall time the longer of two runs waits more for the machine's other work.
            start = time.thread_time()
            file.run(sample)
            entry.append((time.thread_time() - start) * 1000)
    quartiles = [np.percentile(entry, [25, 50, 75]) for entry in times]
    return [[float(middle), float(high - low)] for low, middle, high in quartiles]


def contents(model: Any) -> dict[str, Any]:
    """Bytes of the stored tensors by type, and every product with the types that its kernel meets."""
    sizes: Counter[str] = Counter()
    for number, type_ in {(t.buffer, t.type) for graph in model.subgraphs for t in graph.tensors}:
        buffer = model.buffers[number].data
        sizes[TYPES[type_].lower()] += 0 if buffer is None else len(buffer)
    return {"bytes": {kind: size for kind, size in sizes.items() if size}, "products": list(products(model))}


def products(model: Any) -> Iterator[dict[str, str]]:
    """Operators with stored weights."""
    for graph in model.subgraphs:
        unpacked = {
            operator.outputs[0]: operator.inputs[0]
            for operator in graph.operators
            if OPERATORS[model.operatorCodes[operator.opcodeIndex].builtinCode] == "DEQUANTIZE"
        }
        for operator in graph.operators:
            name = OPERATORS[model.operatorCodes[operator.opcodeIndex].builtinCode]
            if name not in PRODUCTS:
                continue
            read, weights = (operator.inputs[place] for place in PRODUCTS[name])
            stored = graph.tensors[unpacked.get(weights, weights)]
            if model.buffers[stored.buffer].data is None:
                continue  # both flow
            yield {
                "operator": name,
                "activations": TYPES[graph.tensors[read].type].lower(),
                "weights": TYPES[graph.tensors[weights].type].lower(),
                "stored": TYPES[stored.type].lower(),
                "named": ";".join(
                    text.decode() if isinstance(text, bytes) else str(text)
                    for text in (stored.name, *(graph.tensors[one].name for one in operator.outputs))
                ),
            }


if __name__ == "__main__":
    main(*json.loads(sys.stdin.read()))
