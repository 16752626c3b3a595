"""Structured channel pruning, and numbers of fewer bits, for PyTorch, Keras and ONNX models.

    import coppice
    result = coppice.prune(model, percent=0.4, example_inputs=(x,))

The names are loaded when they are used: the service, which shares this package, never imports a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coppice.errors import CoppiceError
from coppice.version import __version__

if TYPE_CHECKING:
    from coppice.library import Result, Swept, Written, inspect, prune, quantize, sweep

_LIBRARY = {"Result", "Swept", "Written", "inspect", "prune", "quantize", "sweep"}

__all__ = ["CoppiceError", "Result", "Swept", "Written", "__version__", "inspect", "prune", "quantize", "sweep"]


def __getattr__(name: str) -> Any:
    if name in _LIBRARY:
        return getattr(import_module("coppice.library"), name)
    raise AttributeError(f"module 'coppice' has no attribute {name!r}")
