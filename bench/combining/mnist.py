"""MNIST, in the two layouts that the user's programs of the demo read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.demo.digits import write_idx

#: Of 60,000: enough for the accuracies that the documents' models have, in minutes on two cores.
TRAIN = 20_000


def write(source: Path, folder: Path) -> None:
    """Write what the programs train on, and all 10,000 test images, into `folder`, unless they are there."""
    done = folder / "digits.npz"
    if done.exists():
        return
    with np.load(source) as arrays:
        parts = {
            "train": (arrays["x_train"][:TRAIN], arrays["y_train"][:TRAIN]),
            "t10k": (arrays["x_test"], arrays["y_test"]),
        }
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in parts.items():
        write_idx(raw / f"{name}-images-idx3-ubyte", images)
        write_idx(raw / f"{name}-labels-idx1-ubyte", labels)
    (train_x, train_y), (test_x, test_y) = parts.values()
    # Last, because its presence says that all is there.
    np.savez(done, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)
