"""Structured channel pruning, and numbers of fewer bits, for PyTorch, Keras and ONNX models.

    import coppice
    result = coppice.prune(model, percent=0.4, example_inputs=(x,))           # in this process
    job = coppice.Client("https://host:8443").prune_keras("mnist.h5", percent=0.4)   # by a service

The names are loaded when they are used: the service, which shares this package, never imports a framework, and the
client needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coppice import extras
from coppice.errors import CoppiceError
from coppice.version import __version__

if TYPE_CHECKING:
    from coppice.client import Client, Job
    from coppice.library import Result, Swept, Written, apply, inspect, prune, quantize, sweep
    from coppice.records.plan import Plan

_LIBRARY = {"Result", "Swept", "Written", "apply", "inspect", "prune", "quantize", "sweep"}

_CLIENT = {"Client", "Job"}

__all__ = [
    "Client",
    "CoppiceError",
    "Job",
    "Plan",
    "Result",
    "Swept",
    "Written",
    "__version__",
    "apply",
    "inspect",
    "prune",
    "quantize",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _LIBRARY:
        with extras.explained():
            return getattr(import_module("coppice.library"), name)
    if name == "Plan":
        return import_module("coppice.records.plan").Plan
    if name in _CLIENT:
        return getattr(import_module("coppice.client"), name)
    raise AttributeError(f"module 'coppice' has no attribute {name!r}")
