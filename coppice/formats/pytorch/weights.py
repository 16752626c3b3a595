"""A file of tensors as users save it: measured, opened without running code, and the state dicts found in it.

Reads what `torch.save` writes, in the zip format and in that of before 1.6, around and beside the state dict whatever
scripts put there, and safetensors. What a model makes of the tensors is said in `state_dict`.
"""

from __future__ import annotations

import mmap
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from coppice.errors import AlreadyQuantized, BadUpload, HostileFile, PickledModule, TruncatedFile, UnknownFormat
from coppice.formats.packed import file as packed
from coppice.formats.pytorch import plain_pickle
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.formats.sniff import Kind, sniff
from coppice.records.request import Part

FIELD = Part.WEIGHTS

#: Keys under which training scripts put the state dict into a checkpoint, in the order in which they are tried.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
#: A part of a key that says: an average of the weights, or a copy of them that learns from the model.
AVERAGE = re.compile(r"(?<![a-z])(?:ema|swa|averaged?|shadow|teacher|momentum)(?![a-z])", re.IGNORECASE)
#: A part of a key that says: what the optimizer remembers.
OPTIMIZER = re.compile(r"optim", re.IGNORECASE)
#: State dicts lie this deep at most: {"checkpoint": {"model": {"state_dict": ...}}}.
MAX_DEPTH = 4
#: An expanded tensor (a few stored numbers that claim to be many) is honest in a mask, and a bomb in the terabytes.
MAX_EXPANDED_BYTES = 64 * 1024 * 1024
#: Keys named in a message before it says "and N more", and how much of each.
MAX_NAMED, MAX_KEY = 5, 200


#: The way to a state dict: keys of mappings, positions in lists.
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a file of weights holds, as it came."""

    kind: Kind
    file: str
    content: Any
    #: Where the state dicts lie in the content, the most likely one first.
    places: tuple[Place, ...]
    #: Classes of which the file holds objects that were not made.
    unmade: frozenset[str] = frozenset()
    #: The texts that a safetensors file carries.
    metadata: Mapping[str, str] = field(default_factory=dict)

    def at(self, place: Place) -> Mapping[str, Any]:
        """The state dict at a place, arrays of numpy as tensors."""
        found = self.saved_at(place)
        if not any(map(is_array, found.values())):
            return found
        read = OrderedDict((key, torch.as_tensor(value) if is_array(value) else value) for key, value in found.items())
        vars(read).update(vars(found) if hasattr(found, "__dict__") else {})  # torch keeps versions there
        return read

    def saved_at(self, place: Place) -> Mapping[str, Any]:
        """The state dict at a place, as it is in the file."""
        found = self.content
        for key in place:
            found = found[key]
        return found  # type: ignore[no-any-return]  # `places` lead to nothing else


def dotted(place: Iterable[str | int]) -> str:
    """The way to a state dict, in words."""
    return ".".join(map(str, place))


def is_array(value: object) -> bool:
    """Whether this is an array or a number of numpy, of a kind that torch has, too."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub" and value.dtype.isnative


def read_weights(path: Path, *, file: str) -> Weights:
    """The file at `path`, called `file` by its user; raises a BadUpload."""
    refuse_archive_tricks(path, file=file, field=FIELD)
    kind = sniff(path)
    if kind is Kind.SAFETENSORS:
        tensors, metadata = _read_safetensors(path, file)
        if packed.MARK in metadata:
            raise AlreadyQuantized(
                f"{file} is quantized already: its tensors are packed. Send the model in floats that it was made from.",
                field=FIELD,
            )
        found = Weights(kind=kind, file=file, content=tensors, places=((),), metadata=metadata)
    else:
        content = _read_torch(path, file)
        _refuse_module(content, path, file)
        places = tuple(sorted(_places(content, ()), key=_likelihood))
        if not places:
            raise UnknownFormat(
                f"{file} holds {_described(content)}, not a state dict. Save torch.save(model.state_dict(), FILE).",
                field=FIELD,
            )
        found = Weights(kind=kind, file=file, content=content, places=places, unmade=plain_pickle.stand_ins(content))
    for place in found.places:
        for key, value in found.at(place).items():
            if isinstance(value, torch.Tensor):
                refuse_tensor(value, key, file=file)
    return found


def refuse_archive_tricks(path: Path, *, file: str, field: str) -> None:
    """Raise HostileFile for what torch.save never writes.

    It stores its members as they are: a compressed or overlapping one is there to grow. Of two with one name, this
    reader would take the one and torch the other.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise HostileFile(f"{file}: {packed} is compressed, which torch.save never does. Save it again.", field=field)
    if len({member.filename for member in members}) < len(members):
        raise HostileFile(f"{file}: two of its members have one name. Save it again.", field=field)
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise HostileFile(f"{file}: its members are larger than the file itself. Save it again.", field=field)


def refuse_tensor(tensor: torch.Tensor, key: str, *, file: str) -> None:
    """Refuse a tensor whose channels are no positions of an axis, and one that claims more numbers than it stores."""
    save = "Save the state dict of the model as it is before that step."
    if tensor.is_quantized:
        raise UnknownFormat(
            f"{file}: {key} is a quantized tensor ({tensor.dtype}); only dense tensors of plain numbers are"
            f" read. {save}",
            field=FIELD,
        )
    if tensor.layout is not torch.strided:
        raise UnknownFormat(
            f"{file}: {key} is a {tensor.layout} tensor; only dense tensors are read. Save {key}.to_dense(), or the"
            f" state dict of a dense model.",
            field=FIELD,
        )
    if tensor.is_meta:
        raise UnknownFormat(f"{file}: {key} has a shape and no numbers (device meta). {save}", field=FIELD)
    claimed = tensor.numel() * tensor.element_size()
    if claimed > max(tensor.untyped_storage().nbytes(), MAX_EXPANDED_BYTES):
        raise HostileFile(
            f"{file}: {key} claims {claimed:,} bytes and stores {tensor.untyped_storage().nbytes():,}.", field=FIELD
        )


def _read_safetensors(path: Path, file: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118  not a mapping
    except SafetensorError as e:
        raise TruncatedFile(f"{file} is a damaged safetensors file: {last_line(e)}", field=FIELD) from e


def _read_torch(path: Path, file: str) -> Any:
    try:
        return _opened(path, encoding="utf-8")
    except UnicodeDecodeError:
        pass  # a text that Python 2 wrote
    except Exception as e:  # a damaged pickle raises anything at all
        raise _unreadable(e, path, file) from e
    try:
        return _opened(path, encoding="latin1")
    except Exception as e:
        raise _unreadable(e, path, file) from e


def _opened(path: Path, *, encoding: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of changed source code in old files: nothing here is made by it
        # Not the weights_only reader of torch: it knows one pickle protocol and refuses what stand-ins let pass.
        return torch.load(path, map_location="cpu", pickle_module=plain_pickle, weights_only=False, encoding=encoding)


def _unreadable(error: Exception, path: Path, file: str) -> Exception:
    if is_out_of_memory(error):
        return error
    if isinstance(error, plain_pickle.Refused):
        return UnknownFormat(
            f"{file} holds more than tensors: it needs {error.name}, which runs code on the machine that opens it. Save"
            f" only torch.save(model.state_dict(), FILE).",
            field=FIELD,
        )
    if _mentions_module(path):
        return _pickled_module(path, file, "")
    # torch's own text advises weights_only=False, which is the last thing to do with such a file.
    why = "no pickle of tensors" if isinstance(error, pickle.UnpicklingError) else last_line(error)
    return TruncatedFile(
        f"{file} is a damaged or truncated PyTorch file ({why}). Save it and send it again.", field=FIELD
    )


def _mentions_module(path: Path) -> bool:
    # The attributes of every nn.Module stand in its pickle as plain text; zip members are stored as they are.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(b"_buffers") >= 0 and view.find(b"_parameters") >= 0 and view.find(b"_modules") >= 0


def _refuse_module(content: Any, path: Path, file: str) -> None:
    """Refuse a whole pickled model, also one in a checkpoint; one beside a state dict is merely left out."""
    if _is_module(content):
        raise _pickled_module(path, file, "")
    if not isinstance(content, Mapping) or any(_places(content, ())):
        return
    key = next((key for key, value in content.items() if _is_module(value)), None)
    if key is not None:
        raise _pickled_module(path, file, f"[{key!r}]")


def _is_module(value: Any) -> bool:
    return isinstance(value, plain_pickle.StandIn) and value.is_module()


def _pickled_module(path: Path, file: str, entry: str) -> BadUpload:
    return PickledModule(
        f"{file} holds a whole pickled model, which only opens where it was made. Send its state dict. Run there:\n"
        f"  import torch\n"
        f'  model = torch.load("{file}", map_location="cpu", weights_only=False){entry}\n'
        f'  torch.save(model.state_dict(), "{Path(file).stem or path.stem}_state.pth")',
        field=FIELD,
    )


def _places(content: Any, place: Place) -> Iterator[Place]:
    """Where state dicts lie: mappings of names to tensors, none of them inside another."""
    if len(place) > MAX_DEPTH or (isinstance(content, Mapping) and "param_groups" in content):
        return
    inner = [
        found
        for key, value in _entries(content)
        if isinstance(value, (Mapping, list, tuple)) and not OPTIMIZER.search(str(key))
        for found in _places(value, (*place, key))
    ]
    if inner:
        yield from inner
    elif isinstance(content, Mapping) and _has_tensors(content) and all(isinstance(key, str) for key in content):
        yield place


def _entries(content: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(content, Mapping):
        return [(key, value) for key, value in content.items() if isinstance(key, (str, int))]
    return enumerate(content) if type(content) in (list, tuple) else ()


def _has_tensors(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) or is_array(value) for value in content.values())


def _likelihood(place: Place) -> tuple[bool, int, int]:
    known = [WRAPPERS.index(key) for key in place if key in WRAPPERS]
    return any(AVERAGE.search(str(key)) for key in place), min(known, default=len(WRAPPERS)), len(place)


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        keys = ", ".join(str(key) for key in list(found)[:MAX_NAMED])
        needed = ", ".join(sorted(plain_pickle.stand_ins(found))[:MAX_NAMED])
        beside = f", with objects of {needed}" if needed else ""
        return f"a dict with the keys {keys}{beside}" if keys else "an empty dict"
    return f"a {found.origin}" if isinstance(found, plain_pickle.StandIn) else f"a {type(found).__name__}"
