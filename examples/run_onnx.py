"""Run a quantized ONNX model on samples, as a device would. Needs onnxruntime and numpy, nothing of ours.

    python run_onnx.py --model tmpqpj73q22.onnx --test test_loader.pth

`--test` is an `.npz` of `x` and `y`, or a DataLoader that `torch.save` wrote; then torch is needed to open it. Only
load files that you trust: such files can run code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]


def main() -> None:
    """Print the accuracy as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="the downloaded .onnx")
    parser.add_argument("--test", required=True, help="samples with labels")
    asked = parser.parse_args()
    session = onnxruntime.InferenceSession(asked.model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    right = count = 0
    for x, y in batches(asked.test):
        right += int((session.run(None, {name: x})[0].argmax(axis=1) == y).sum())
        count += len(y)
    print(json.dumps({"accuracy": right / count}))


def batches(file: str) -> Iterator[tuple[Array, Array]]:
    """Samples and labels as arrays."""
    if file.endswith(".npz"):
        with np.load(file) as arrays:
            yield arrays["x"].astype(np.float32), arrays["y"]
    else:
        import torch

        for x, y in torch.load(file, weights_only=False):
            yield x.numpy(), y.numpy()


if __name__ == "__main__":
    main()
