"""Composite layers, seen at the dispatcher as what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def decomposed() -> Iterator[None]:
    """While active, torch's attention layers come as their projections and one call between, not as one kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def unfused() -> Iterator[None]:
    """As `decomposed`; and what is between the projections comes as products and a softmax."""
    with decomposed(), sdpa_kernel(SDPBackend.MATH):
        yield
