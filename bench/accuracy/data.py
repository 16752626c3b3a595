"""The images of the benchmark: scikit-learn's digits, which come with a dependency, and MNIST where a file is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from examples.demo.digits import enlarged

#: Images to train on, and to measure on; of the 1,797 digits the others.
DIGITS_TRAIN = 1000
MNIST_TRAIN, MNIST_TEST = 6_400, 4_000
SAMPLES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Rows (1, 28, 28) around zero, and their classes."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def drawn(self, count: int, seed: int) -> Images:
        """Some of them, at random."""
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        return Images(x=self.x[rows], y=self.y[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is trained on and what is measured on."""

    name: str
    train: Images
    test: Images
    batch: int  # of the training


def _digits(_: Path | None) -> Data:
    images, labels = enlarged()
    return Data(
        name="digits",
        train=_images(images[:DIGITS_TRAIN], labels[:DIGITS_TRAIN]),
        test=_images(images[DIGITS_TRAIN:], labels[DIGITS_TRAIN:]),
        batch=16,
    )


def _mnist(file: Path | None) -> Data | None:
    if file is None or not file.exists():
        return None
    with np.load(file) as arrays:
        return Data(
            name="mnist",
            train=_images(arrays["x_train"][:MNIST_TRAIN], arrays["y_train"][:MNIST_TRAIN]),
            test=_images(arrays["x_test"][:MNIST_TEST], arrays["y_test"][:MNIST_TEST]),
            batch=64,
        )


def _images(pixels: np.ndarray, labels: np.ndarray) -> Images:
    x = (torch.from_numpy(pixels).float()[:, None] / 255 - 0.1307) / 0.3081  # as the document normalises
    return Images(x=x, y=torch.from_numpy(labels.astype(np.int64)))


#: Name -> reader of it; None where its file is not on this machine.
DATA: Mapping[str, Callable[[Path | None], Data | None]] = {"mnist": _mnist, "digits": _digits}


@cache
def opened(name: str, mnist: Path | None) -> Data | None:
    """The images of one data set, read once in a process."""
    return DATA[name](mnist)
