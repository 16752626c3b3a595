"""A stock LiteRT in a process of its own, without Coppice: what a `.tflite` file holds, and what it gives."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PYTHON = Path(__file__).resolve().parents[2] / ".envs" / "litert" / "bin" / "python"

_PROGRAM = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
file, samples, out = sys.argv[1:]
runtime = Interpreter(file, num_threads=1)
runtime.allocate_tensors()
(given,), results = runtime.get_input_details(), runtime.get_output_details()
outputs = []
for row in np.load(samples):
    runtime.set_tensor(given["index"], row[None])
    runtime.invoke()
    outputs.append([runtime.get_tensor(one["index"])[0] for one in results])
# Without delegates every operator is seen as it is.
plain = Interpreter(file, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
plain.allocate_tensors()
tensors = {one["index"]: one for one in plain.get_tensor_details()}
arrays = {f"output_{n}": np.stack(rows) for n, rows in enumerate(zip(*outputs))}
seen = []
for op in plain._get_ops_details():
    types = [np.dtype(tensors[i]["dtype"]).name for i in [*op["inputs"][:2], *op["outputs"][:1]] if i >= 0]
    seen.append([op["op_name"], types])
    if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        weights = tensors[op["inputs"][1]]
        grid = weights["quantization_parameters"]
        stored = len(grid["scales"]) > 0  # else they are unpacked by an operator before
        arrays[f"codes_{len(seen) - 1}"] = plain.get_tensor(weights["index"]) if stored else np.zeros(0)
        arrays[f"scales_{len(seen) - 1}"] = grid["scales"]
np.savez(out, seen=json.dumps(seen), **arrays)
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What LiteRT showed of a file."""

    outputs: NDArray[Any]
    operators: list[tuple[str, list[str]]]
    #: Of the products in their order.
    codes: list[NDArray[Any]]
    scales: list[NDArray[Any]]


def run(file: Path, samples: NDArray[Any], folder: Path) -> Seen:
    """Run a file with one input on samples, one at a time."""
    inputs, out = folder / "inputs.npy", folder / "seen.npz"
    np.save(inputs, samples)
    ask(_PROGRAM, str(file), str(inputs), str(out))
    with np.load(out) as found:
        places = sorted(int(name.split("_")[1]) for name in found.files if name.startswith("codes_"))
        return Seen(
            outputs=found["output_0"],
            operators=[(name, types) for name, types in json.loads(str(found["seen"]))],
            codes=[found[f"codes_{place}"] for place in places],
            scales=[found[f"scales_{place}"] for place in places],
        )


def ask(program: str, *arguments: str) -> str:
    """What a program prints in the environment."""
    needed()
    command = [str(PYTHON), "-I", "-W", "ignore", "-c", program, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


def needed() -> None:
    """Skip a test where the environment is not set up; in CI that is a failure."""
    if not PYTHON.exists():
        reason = "the environment litert is not set up: scripts/dialects litert"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
