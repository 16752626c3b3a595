"""Load a written Keras file back in a clean process, by our reader, and compare it with the module that was cut.

That real Keras loads it too is proven by `make test-dialects` for every dialect; no job has a Keras to ask.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from coppice.errors import ReloadFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.keras_layers.tree import tensors_in

#: Reading and one run take seconds; a large model on a busy machine may take minutes.
SECONDS = 300


def reload_keras(pruned: nn.Module, inputs: tuple[Tensor, ...], written: Path) -> None:
    """Check one written file; raises ReloadFailed."""
    with torch.no_grad():
        outputs = tensors_in(pruned(*inputs))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save({"inputs": inputs, "outputs": outputs}, folder / "expected.pt")
        job = {"model": str(written.absolute()), "expected": str(folder / "expected.pt")}
        try:
            failures = run_clean("keras/clean_keras.py", job, folder, seconds=SECONDS, with_torch=True)
        except CleanProcessFailed as e:
            raise ReloadFailed(f"{written.name} did not load back in a process of its own: {e}") from e
    if failures:
        raise ReloadFailed(f"{written.name} loaded back as another model: {' '.join(failures)}")
