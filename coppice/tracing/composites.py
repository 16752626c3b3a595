"""Composite layers, seen at the dispatcher as what they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

#: Layers that oneDNN would run in one piece, hiding what they are made of.
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


@contextmanager
def decomposed() -> Iterator[None]:
    """While active, attention and recurrent layers come as their products and what is between, not as one kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Steps():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def unfused() -> Iterator[None]:
    """As `decomposed`; and what is between an attention's projections comes as products and a softmax, too."""
    with decomposed(), sdpa_kernel(SDPBackend.MATH):
        yield


def in_steps(name: str) -> AbstractContextManager[None]:
    """For a call by that name: where it is a recurrent layer, it comes step by step, not as a kernel of oneDNN's."""
    # Not for all calls: convolutions are many times slower without it.
    return _without_onednn() if name in _RECURRENT else nullcontext()


class _Steps(TorchFunctionMode):
    """Makes recurrent layers come step by step."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with in_steps(getattr(func, "__name__", "")):
            return func(*args, **(kwargs or {}))


@contextmanager
def _without_onednn() -> Iterator[None]:
    # torch.backends.mkldnn.flags would also set TF32, which warns on machines without an Intel GPU.
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)
