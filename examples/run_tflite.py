"""Run a quantized `.tflite` model on samples, as a device would. Needs ai-edge-litert and numpy, nothing of ours.

    python run_tflite.py --model tmpqpj73q22.tflite --test test.npz

`--test` is an `.npz` of `x` and `y`. Inputs and outputs of the model are floats, whatever it computes in.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Print the accuracy as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="the downloaded .tflite")
    parser.add_argument("--test", required=True, help="samples with labels")
    asked = parser.parse_args()
    interpreter = Interpreter(asked.model)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    with np.load(asked.test) as arrays:
        x, y = arrays["x"].astype(np.float32), arrays["y"]
    right = 0
    for row, label in zip(x, y, strict=True):
        interpreter.set_tensor(entry, row[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(result)[0].argmax() == label)
    print(json.dumps({"accuracy": right / len(x)}))


if __name__ == "__main__":
    main()
