"""Make `import torchvision` work beside a torch that its compiled part was not built for.

The wheel of the public index is built for CUDA; beside a CPU build of torch its compiled part does not load, and the
Python part then fails on two operators that only the compiled part declares. Transforms and datasets need neither:
declaring the two schemas is enough.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache

import torch

#: The operators for which torchvision registers a Python part whether or not its compiled part is there.
_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def prepare_torchvision() -> None:
    """Import torchvision, declaring what it misses; whatever else keeps it from importing is left to its user."""
    if _missing_operator() is None:
        return
    for operator, schema in _SCHEMAS.items():
        if _missing_operator() != operator:
            continue
        # A failed import leaves its submodules behind, which would be taken for whole ones.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        torch.library.define(operator, schema)


def _missing_operator() -> str | None:
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None
    except RuntimeError as e:
        return next((operator for operator in _SCHEMAS if f"operator {operator} does not exist" in str(e)), None)
    return None
