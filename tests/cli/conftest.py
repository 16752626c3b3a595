"""A user's files, and the command as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

MODEL = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        print("a model may print")
        self.conv = nn.Conv2d(1, 10, 3)
        self.fc = nn.Linear(10 * 36, 4)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x), 1))
"""

Coppice = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with `model.py` and `weights.pth`: class Small, one sample is 1,8,8."""
    (tmp_path / "model.py").write_text(MODEL)
    weights = {
        "conv.weight": torch.randn(10, 1, 3, 3),
        "conv.bias": torch.randn(10),
        "fc.weight": torch.randn(4, 360),
        "fc.bias": torch.randn(4),
    }
    torch.save(weights, tmp_path / "weights.pth")
    return tmp_path


@pytest.fixture
def coppice(files: Path) -> Coppice:
    """Run the console script in the folder of the user's files."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("coppice")), *arguments]
        return subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)

    return run
