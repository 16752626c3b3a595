"""examples/run_onnx.py: the accuracy of a downloaded file, by a script that knows nothing of us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch.utils.data import DataLoader, TensorDataset

from tests.onnx.builders import graph

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "run_onnx.py"
#: The model gives its input back, so that the class is the place of the largest: of these 0, 2, 1 and 0.
X = np.array([[9, 1, 2], [0, 3, 5], [1, 7, 6], [4, 3, 0]], np.float32)
Y = np.array([0, 2, 1, 2])


@pytest.mark.parametrize("test", ["test.npz", "test.pth"])
def test_it_counts_what_the_file_gets_right(tmp_path: Path, test: str) -> None:
    node = helper.make_node("Identity", ["x"], ["y"], name="same")
    model = graph([node], {}, inputs={"x": ("batch", 3)}, outputs={"y": ("batch", 3)})
    onnx.save_model(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "test.npz", x=X, y=Y)
    torch.save(DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=3), tmp_path / "test.pth")

    found = subprocess.run(
        [sys.executable, "-E", str(SCRIPT), "--model", "model.onnx", "--test", test],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(found.stdout) == {"accuracy": 0.75}
