"""Real input without a download: scikit-learn's handwritten digits, enlarged from 8x8 to 28x28.

They are written twice: as the four files of MNIST, so that `torchvision.datasets.MNIST` opens them as in the document,
and as one `.npz`, which the TensorFlow side can read with numpy alone.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

TRAIN = 1437  # of 1,797: four fifths


def write(folder: Path) -> None:
    """Write the digits into `folder`, unless they are there."""
    done = folder / "digits.npz"
    if done.exists():
        return
    images, labels = enlarged()
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", slice(None, TRAIN)), ("t10k", slice(TRAIN, None))):
        write_idx(raw / f"{name}-images-idx3-ubyte", images[part])
        write_idx(raw / f"{name}-labels-idx1-ubyte", labels[part])
    np.savez(
        done, train_x=images[:TRAIN], train_y=labels[:TRAIN], test_x=images[TRAIN:], test_y=labels[TRAIN:]
    )  # last, because its presence says that all is there


def enlarged() -> tuple[np.ndarray, np.ndarray]:
    """All digits, shuffled once: pixels (1797, 28, 28) as bytes, and classes."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    small = torch.from_numpy(digits.images[order]).float()[:, None]
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear")[:, 0] * (255 / 16)
    return large.round().clamp(0, 255).to(torch.uint8).numpy(), digits.target[order].astype(np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST's files: 0, 0, 8 (bytes), number of axes, sizes big-endian, then the bytes."""
    path.write_bytes(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())
