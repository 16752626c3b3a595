"""Small models as files that a reader would drop on the page."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import torch

from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential

CLASS_FILE = """import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 10, 3)
        self.block = Block(10)
        self.wide = nn.Conv2d(10, 20, 3)
        self.out = nn.Linear(20, 5)

    def forward(self, x):
        x = self.wide(self.block(torch.relu(self.stem(x))))
        return self.out(torch.relu(x).mean((2, 3)))
"""
#: Of one sample of that class's input.
INPUT_SIZE = "1,12,12"


def keras_file(folder: Path) -> Path:
    """The Keras document's model."""
    model = folder / "mnist_base.h5"
    model.write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))
    return model


def pytorch_files(folder: Path) -> tuple[Path, Path, Path]:
    """Weights, class file and labelled samples."""
    torch.manual_seed(0)
    weights, class_file, samples = folder / "net.pth", folder / "nets.py", folder / "samples.npz"
    class_file.write_text(CLASS_FILE)
    torch.save(runpy.run_path(str(class_file))["Net"]().state_dict(), weights)
    rng = np.random.default_rng(0)
    np.savez(samples, x=rng.normal(size=(60, 1, 12, 12)).astype("float32"), y=rng.integers(0, 5, 60))
    return weights, class_file, samples
