"""Which operators of a run compute with given tensors. Plain torch: scripts that must not have us run this file."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Products(TorchDispatchMode):
    """Counts the operators that compute with the tensors, in `counted`; one that only gives a view of them does not."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self._memory = {_memory(tensor) for tensor in tensors}
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, and count it."""
        returned = func(*args, **(kwargs or {}))
        if self._memory & _touched(args) and not self._memory & _touched(returned):
            self.counted[func.overloadpacket.__name__] += 1
        return returned


def _touched(values: Any) -> set[int]:
    return {_memory(leaf) for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
