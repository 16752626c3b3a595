"""What a call of the library leaves in its user's process as it was: random states, and settings of torch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def unmoved() -> Iterator[None]:
    """Give back what the process had before, whatever happens: of torch, numpy and `random`.

    That is the states of their global generators, and torch's default type, number of threads and modes of gradients.
    The engine itself draws from generators of its own, but models draw from the global ones as they run.
    """
    of_python, of_numpy, dtype, threads = random.getstate(), np.random.get_state(), *_settings()
    grad = torch.is_grad_enabled()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]  # torch's
    try:
        # Inference mode of the caller would make tensors that no later backward pass may use.
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _settings() -> tuple[torch.dtype, int]:
    return torch.get_default_dtype(), torch.get_num_threads()
