"""The retraining recipe: its loss is the one it states, and it works with what a user has and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from examples.retrain import distillation

ROOT = Path(__file__).resolve().parents[2]
FOUND, TAUGHT = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]), torch.tensor([[1.0, 0.0, -1.0], [-2.0, 2.0, 2.5]])
LABELS = torch.tensor([0, 2])

MODEL = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        return self.layers(x)
"""
PREPARE = """
import torch
from model import Small
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(256, 4)
torch.save(DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=32), "data.pth")
torch.save(Small().state_dict(), "dense.pth")
torch.save((Small(width=3), None), "pruned.pt")
"""
#: The program, and then a look at what it needed.
ALONE = """
import runpy, sys
program = sys.argv.pop(1)
sys.argv[0] = program
runpy.run_path(program, run_name="__main__")
assert not any(name.partition(".")[0] == "coppice" for name in sys.modules)
"""


def test_the_loss_is_the_one_of_the_docstring() -> None:
    temperature, weight = 3.0, 0.6
    hard = -log_softmax(FOUND.numpy(), axis=1)[np.arange(2), LABELS.numpy()].mean()
    told, learnt = softmax(TAUGHT.numpy() / temperature, axis=1), softmax(FOUND.numpy() / temperature, axis=1)
    divergence = (told * np.log(told / learnt)).sum(axis=1).mean()

    loss = distillation(FOUND, TAUGHT, LABELS, temperature, weight)

    assert loss.item() == pytest.approx((1 - weight) * hard + weight * temperature**2 * divergence, rel=1e-5)


def test_log_probabilities_are_as_good_as_logits() -> None:
    told = distillation(FOUND.log_softmax(dim=1), TAUGHT.log_softmax(dim=1), LABELS, 2.0, 0.7)

    assert told.item() == pytest.approx(distillation(FOUND, TAUGHT, LABELS, 2.0, 0.7).item(), rel=1e-5)


@pytest.mark.slow
def test_the_files_of_a_user_and_torch_are_all_it_needs(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    _run(tmp_path, "-c", PREPARE)
    files = ["--dense", "dense.pth", "--pruned", "pruned.pt", "--class-def", "model.py", "--model-name", "Small"]
    data = ["--data", "data.pth", "--test", "data.pth", "--weight", "0", "--epochs", "8", "--rate", "0.1"]
    told = _run(tmp_path, "-c", ALONE, str(ROOT / "examples" / "retrain.py"), *files, *data, "-o", "out.pth")

    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["epoch"] for line in lines] == list(range(9))
    assert lines[-1]["accuracy"] > 0.95  # the sum of four numbers is easily told
    assert torch.load(tmp_path / "out.pth")["layers.0.weight"].shape == (3, 4)


def _run(folder: Path, *arguments: str) -> str:
    found = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout
