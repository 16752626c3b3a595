"""A `.pth` of tensors: measured, read without running code, and fitted into the user's model.

Reads what `torch.save(model.state_dict(), FILE)` writes, in the zip format and in that of before 1.6, the usual
wrappers around it, and safetensors. A file that needs code to open is refused.
"""

from __future__ import annotations

import argparse
import mmap
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from coppice.errors import HostileFile, PickledModule, StateDictMismatch, TruncatedFile, UnknownFormat
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.formats.sniff import Kind, sniff
from coppice.records.request import Part

FIELD = Part.WEIGHTS

#: Keys under which training scripts put the state dict into a checkpoint, in the order in which they are tried.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
#: What wrappers of modules put before every key: DataParallel, torch.compile.
PREFIXES = ("module.", "_orig_mod.")
#: An expanded tensor (a few stored numbers that claim to be many) is honest in a mask, and a bomb in the terabytes.
MAX_EXPANDED_BYTES = 64 * 1024 * 1024
#: Keys named in a message before it says "and N more".
MAX_NAMED = 5

#: How torch says that a file would run code.
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+) (?:was not an allowed global|whose module \S+ is blocked)")
#: Harmless classes that checkpoints carry beside the tensors: arguments of the script, a best accuracy.
_SCALAR = np.float64(0).__reduce__()[0]
_BYSTANDERS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "b1")),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy before 2.0 wrote it
]


@dataclass(frozen=True, slots=True)
class StateDict:
    """The tensors by their names, and what was done to reach them."""

    tensors: OrderedDict[str, Any]
    notes: tuple[str, ...] = ()


def read_state_dict(path: Path, *, file: str) -> StateDict:
    """The state dict in the file at `path`, called `file` by its user; raises a BadUpload."""
    refuse_archive_tricks(path, file=file, field=FIELD)
    if sniff(path) is Kind.SAFETENSORS:
        return StateDict(OrderedDict(_read_safetensors(path, file)))
    found, notes = _unwrapped(_read_torch(path, file), file)
    for key, value in found.items():
        if isinstance(value, torch.Tensor):
            refuse_expanded(value, key, file=file)
    return StateDict(found, notes)


def fit(module: nn.Module, state: StateDict, *, file: str) -> tuple[str, ...]:
    """Load the tensors into the module; raises StateDictMismatch that names the keys and shapes at fault.

    Returns what had to be done to make them fit, a sentence each.
    """
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    tensors, notes = _unprefixed(state.tensors, own, file)
    misfits = [
        f"{key} is {_shape(given)} in the file and {_shape(own[key])} in the model"
        for key, given in tensors.items()
        if key in own and not torch.nn.parameter.is_lazy(own[key]) and _shape(given) != _shape(own[key])
    ]
    # Asked of torch, not compared by us: a module may take old keys by a hook of its own.
    missing, unexpected = ([], []) if misfits else _loaded(module, tensors, file)
    parts = [
        _listed("missing from the file", missing),
        _listed("in the file but not in the model", unexpected),
        _listed("of another shape", misfits),
    ]
    if any(parts):
        raise StateDictMismatch(
            f"{file} does not fit {type(module).__name__}: {'; '.join(part for part in parts if part)}. Send the"
            f" state dict of the very class in the class file.",
            field=FIELD,
        )
    return notes


def _loaded(module: nn.Module, tensors: Mapping[str, Any], file: str) -> tuple[list[str], list[str]]:
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, TypeError, AttributeError) as e:  # a tensor that does not copy, or a hook of the user's
        if is_out_of_memory(e):
            raise
        raise StateDictMismatch(
            f"{file} does not load into {type(module).__name__}: {last_line(e)}", field=FIELD
        ) from e
    return missing, unexpected


def refuse_archive_tricks(path: Path, *, file: str, field: str) -> None:
    """torch stores its members as they are; a compressed or overlapping one is there to grow; raises HostileFile."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise HostileFile(f"{file}: {packed} is compressed, which torch.save never does. Save it again.", field=field)
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise HostileFile(f"{file}: its members are larger than the file itself. Save it again.", field=field)


def refuse_expanded(tensor: torch.Tensor, key: str, *, file: str) -> None:
    """Refuse a tensor that claims far more numbers than it stores; raises HostileFile."""
    if tensor.layout is not torch.strided:
        raise UnknownFormat(f"{file}: {key} is a {tensor.layout} tensor; only dense tensors are read.", field=FIELD)
    claimed = tensor.numel() * tensor.element_size()
    if claimed > max(tensor.untyped_storage().nbytes(), MAX_EXPANDED_BYTES):
        raise HostileFile(
            f"{file}: {key} claims {claimed:,} bytes and stores {tensor.untyped_storage().nbytes():,}.", field=FIELD
        )


def _read_safetensors(path: Path, file: str) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as e:
        raise TruncatedFile(f"{file} is a damaged safetensors file: {last_line(e)}", field=FIELD) from e


def _read_torch(path: Path, file: str) -> object:
    try:
        with torch.serialization.safe_globals(_BYSTANDERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another pickle protocol: that it does not load is told below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a damaged pickle raises anything at all
        if is_out_of_memory(e):
            raise
        raise _unreadable(e, path, file) from e


def _unreadable(error: Exception, path: Path, file: str) -> Exception:
    if _holds_module(path):
        stem = path.stem
        return PickledModule(
            f"{file} holds a whole pickled model, which only opens where it was made. Send its state dict. Run there:\n"
            f"  import torch\n"
            f'  model = torch.load("{file}", weights_only=False)\n'
            f'  torch.save(model.state_dict(), "{stem}_state.pth")',
            field=FIELD,
        )
    needed = _REFUSED_GLOBAL.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if needed is not None:
        return UnknownFormat(
            f"{file} holds more than tensors: it needs {needed[1]}. Save only torch.save(model.state_dict(), FILE).",
            field=FIELD,
        )
    if "Unsupported operand" in str(error):
        return UnknownFormat(
            f"{file} was pickled by another protocol than that of torch. Save torch.save(model.state_dict(), FILE),"
            f" without pickle_protocol.",
            field=FIELD,
        )
    # torch's own text advises weights_only=False, which is the last thing to do with such a file.
    why = "no pickle of tensors" if isinstance(error, pickle.UnpicklingError) else last_line(error)
    return TruncatedFile(
        f"{file} is a damaged or truncated PyTorch file ({why}). Save it and send it again.", field=FIELD
    )


def _holds_module(path: Path) -> bool:
    # The attributes of every nn.Module stand in its pickle as plain text; zip members are stored as they are.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(b"_buffers") >= 0 and view.find(b"_parameters") >= 0 and view.find(b"_modules") >= 0


def _unwrapped(found: object, file: str) -> tuple[OrderedDict[str, Any], tuple[str, ...]]:
    notes: list[str] = []
    wrapper = next((key for key in WRAPPERS if isinstance(found, Mapping) and _is_state(found.get(key))), None)
    if isinstance(found, Mapping) and not _is_state(found) and wrapper is not None:
        found = found[wrapper]
        notes.append(f"{file} is a checkpoint: its entry {wrapper!r} was taken, the rest left out.")
    if not isinstance(found, Mapping) or not _is_state(found):
        raise UnknownFormat(
            f"{file} holds {_described(found)}, not a state dict. Save torch.save(model.state_dict(), FILE).",
            field=FIELD,
        )
    return found if isinstance(found, OrderedDict) else OrderedDict(found), tuple(notes)


def _unprefixed(
    tensors: OrderedDict[str, Any], own: Mapping[str, Any], file: str
) -> tuple[OrderedDict[str, Any], tuple[str, ...]]:
    """Drop what wrappers put before every key, unless the model has a part of that name itself."""
    notes = []
    foreign = [prefix for prefix in PREFIXES if not any(key.startswith(prefix) for key in own)]
    while prefix := next((entry for entry in foreign if all(key.startswith(entry) for key in tensors)), None):
        tensors = _without_prefix(tensors, prefix)
        notes.append(f"Every key of {file} began with {prefix!r}, which a wrapper of the model puts there: dropped.")
    return tensors, tuple(notes)


def _without_prefix(state: Mapping[str, Any], prefix: str) -> OrderedDict[str, Any]:
    bare = OrderedDict((key.removeprefix(prefix), value) for key, value in state.items())
    # Versions of the modules, by which torch reads the state dicts of its older releases.
    metadata = getattr(state, "_metadata", {})
    bare._metadata = {key.removeprefix(prefix.rstrip(".")).removeprefix("."): value for key, value in metadata.items()}  # type: ignore[attr-defined]  # torch's own convention
    return bare


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(entry, torch.Tensor) for entry in value.values())
        and not any(isinstance(entry, Mapping) and _is_state(entry) for entry in value.values())
    )


def _described(found: object) -> str:
    if isinstance(found, Mapping):
        keys = ", ".join(str(key) for key in list(found)[:MAX_NAMED])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"a {type(found).__name__}"


def _listed(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return f"{what}: {', '.join(items[:MAX_NAMED])}{more}"


def _shape(value: object) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
