"""A pickle module that runs no code: tensors and plain data are themselves, every other class is a stand-in.

Given to `torch.load` as its `pickle_module`. Checkpoints carry the script's options, configuration objects, a logger;
none of that is needed to reach the tensors, and none of it is made here.
"""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import pathlib
import pickle
import types
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

#: Modules whose functions act on the machine: a checkpoint that names one was made to harm whoever opens it.
_ACTING = frozenset(
    {"os", "posix", "nt", "subprocess", "sys", "pty", "socket", "shutil", "runpy", "importlib", "ctypes"}
)
#: The same of a module that is harmless otherwise.
_ACTING_BUILTINS = frozenset({"eval", "exec", "compile", "open", "input", "__import__", "breakpoint"})

#: Functions of `torch._utils` that put a tensor together from its storage.
_REBUILDERS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
    "_rebuild_qtensor",
    "_rebuild_sparse_tensor",
    "_rebuild_nested_tensor",
    "_rebuild_meta_tensor_no_storage",
    "_rebuild_device_tensor_from_numpy",
    "_rebuild_device_tensor_from_cpu_tensor",
)
_BUILTINS = (set, frozenset, bytearray, bytes, complex, slice, range, list, tuple, dict, int, float, str, bool, object)
#: Kinds of value that torch pickles by the name of its constant.
_NAMED = (torch.dtype, torch.qscheme)
_SCALAR, _RECONSTRUCT = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]


def _known() -> Iterator[tuple[str, Any]]:
    """Whatever may be made: its name in a pickle, and what it is."""
    yield from ((f"torch._utils.{name}", getattr(torch._utils, name)) for name in _REBUILDERS)
    yield from ((f"torch.{name}", value) for name, value in vars(torch).items() if isinstance(value, _NAMED))
    yield from ((f"builtins.{kind.__name__}", kind) for kind in _BUILTINS)
    yield from ((f"numpy.dtypes.{type(np.dtype(code)).__name__}", type(np.dtype(code))) for code in np.typecodes["All"])
    for kind in torch._tensor_classes:
        yield f"{kind.__module__}.{kind.__name__}", kind
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before numpy 2.0, and since
        yield f"{module}.scalar", _SCALAR
        yield f"{module}._reconstruct", _RECONSTRUCT
    plain: tuple[Any, ...] = (
        collections.OrderedDict,
        collections.defaultdict,
        collections.Counter,
        argparse.Namespace,
        types.SimpleNamespace,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        dt.timezone,
        pathlib.PurePosixPath,
        np.ndarray,
        np.dtype,
        torch.Size,
        torch.device,
        torch.Tensor,
        torch.UntypedStorage,
        nn.Parameter,
    )
    yield from ((f"{kind.__module__}.{kind.__qualname__}", kind) for kind in plain)
    for module in ("pathlib", "pathlib._local"):  # of before Python 3.13, and since
        yield f"{module}.PosixPath", pathlib.PurePosixPath
        yield f"{module}.WindowsPath", pathlib.PureWindowsPath
    yield "torch.nn.parameter.Parameter", nn.Parameter
    yield "torch.autograd.variable.Variable", torch.Tensor
    yield "torch.tensor.Tensor", torch.Tensor
    yield "torch.serialization._get_layout", torch.serialization._get_layout
    yield "torch._tensor._rebuild_from_type_v2", torch._tensor._rebuild_from_type_v2
    yield "_codecs.encode", _encoded


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes; no other codec is needed for that."""
    return text.encode("latin1" if encoding not in ("utf-8", "ascii") else encoding)


KNOWN: Mapping[str, Any] = dict(_known())


class StandIn:
    """An object of a class that is not made here: it takes what the pickle gives it, and is nothing."""

    #: Name of the class, as the pickle has it.
    origin = ""
    #: What the object held, where the pickle says so.
    state: Any

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self.state = None

    def __new__(cls, *_arguments: Any, **_options: Any) -> StandIn:  # noqa: D102  a pickle may make it without __init__
        made = object.__new__(cls)
        made.state = None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """An entry of a class derived from dict."""

    def append(self, value: Any) -> None:
        """An entry of a class derived from list."""

    def __hash__(self) -> int:
        return id(self)

    def is_module(self) -> bool:
        """Whether this was a torch.nn.Module: the only objects that hold these three."""
        return isinstance(self.state, dict) and {"_parameters", "_buffers", "_modules"} <= self.state.keys()


class Refused(pickle.UnpicklingError):
    """The pickle names a function that acts on the machine."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Unpickler(pickle.Unpickler):
    """The unpickler that torch derives its own from."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name where it is plain data, else a stand-in; raises Refused."""
        module = IMPORT_MAPPING.get(module, module)  # as Python 2 called it
        if module.partition(".")[0] in _ACTING or (module == "builtins" and name in _ACTING_BUILTINS):
            raise Refused(f"{module}.{name}")
        full = f"{module}.{name}"
        return KNOWN[full] if full in KNOWN else type(name.rpartition(".")[2], (StandIn,), {"origin": full})


def load(file: BinaryIO, **options: Any) -> Any:
    """As `pickle.load`."""
    return Unpickler(file, **options).load()


def stand_ins(value: Any) -> frozenset[str]:
    """The names of the classes that plain data holds stand-ins of."""
    found: set[str] = set()
    _visit(value, found.add, set())
    return frozenset(found)


def _visit(value: Any, tell: Callable[[str], None], seen: set[int]) -> None:
    if isinstance(value, StandIn) or (isinstance(value, type) and issubclass(value, StandIn)):
        tell(value.origin)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _visit(key, tell, seen)
            _visit(entry, tell, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for entry in value:
            _visit(entry, tell, seen)
    elif isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        _visit(vars(value), tell, seen)
