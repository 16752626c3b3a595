"""A quantized Keras model as packed safetensors, and the loader for its user's own Keras.

What is packed is the very file that the model came as, `.h5` or `.keras`, with quantized arrays: its groups, their
attributes and the configuration lie in the header. The loader writes that file again, in floats, and lets Keras load
it: so whatever Keras does for files of old versions, it does for this one.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from coppice.errors import PrecisionImpossible, ReloadFailed
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.keras.network import open_model
from coppice.formats.keras.source import FORMATS, KerasSource
from coppice.formats.packed import file as packed
from coppice.formats.packed.held_out import batches, rows
from coppice.formats.pytorch.user_errors import trimmed
from coppice.formats.quantized import Quantizing, Written
from coppice.formats.sniff import Kind, sniff
from coppice.keras_layers import KerasNetwork
from coppice.quant import Coded, QuantizedModel
from coppice.records.report import Arithmetic, Artifact

SCRIPT = "packed/clean_packed_keras.py"
#: Loading takes seconds, the samples held out perhaps minutes.
SECONDS = 600
#: What the user gets: Python that imports nothing of ours.
LOADER = Path(__file__).with_name("load_keras.py")
_ARRAYS = "model.weights.h5"

STORED_ONLY = (
    "Weights of few bits save room in the file alone: the loader makes floats of them, so that the loaded model takes "
    "the memory and the time of the float model."
)
READER = "The outputs of the packed file are those of Coppice's own reader of Keras files: no job has a Keras to ask."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpacked:
    """What a Keras file holds, as a packed one has it."""

    arrays: Mapping[str, Tensor]
    #: Of HDF5, by address: the attributes of each group.
    groups: Mapping[str, Mapping[str, Any]]
    #: Of an archive: the texts beside the arrays.
    members: Mapping[str, str] | None


def write(task: Quantizing, out: Path) -> Written:
    """Write the file and its loader, and run what the loader makes of it; raises PrecisionImpossible, ReloadFailed."""
    source, model = task.source, task.model
    if not isinstance(source, KerasSource):
        raise TypeError(f"a {type(source).__name__} is no Keras file")
    file = Artifact(name="quantized", file=f"{source.stem}_quantized.safetensors")
    loader = Artifact(name="quantized_loader", file="load_quantized_keras.py", media_type="text/x-python")
    (out / loader.file).write_bytes(LOADER.read_bytes())
    with tempfile.TemporaryDirectory(dir=out, prefix=".packed-") as name:
        folder = Path(name)
        in_floats = QuantizedModel(module=task.dense)
        packed.write(_content(source.write_keras(task.dense, folder), in_floats), folder / "floats.safetensors")
        written = source.write_keras(model.module, folder)
        packed.write(_content(written, model), out / file.file)
        held_out = batches(task.held_out)
        torch.save({"batches": held_out}, folder / "batches.pt")
        job = {
            "loader": str((out / loader.file).absolute()),
            "file": str((out / file.file).absolute()),
            "written": str(written.absolute()),
            "batches": str(folder / "batches.pt"),
            "given": str(folder / "given.pt"),
            "products": _products(model),
        }
        verdict = _verdict(job, folder)
        if verdict["failures"]:
            raise ReloadFailed(f"{file.file} did not load back: {' '.join(verdict['failures'])}")
        return Written(
            artifacts=(file, loader),
            runtime=f"Coppice's reader of Keras files, PyTorch {verdict['torch']}",
            bytes_by_type=packed.bytes_by_type(out / file.file),
            float_bytes=(folder / "floats.safetensors").stat().st_size,
            outputs=rows(held_out, torch.load(folder / "given.pt", weights_only=True)),
            arithmetic=Arithmetic.FLOAT,
            operators=verdict["operators"],
            notes=(STORED_ONLY, READER),
        )


def _products(model: QuantizedModel) -> list[str]:
    tensors = dict(model.module.named_parameters())
    return [name for name in {**model.coded, **model.floats} if name in tensors and tensors[name].dim() > 1]


def _content(written: Path, model: QuantizedModel) -> packed.Content:
    """A Keras file of the module, with its quantized tensors packed."""
    held = _unpacked(written)
    file = FORMATS[sniff(written)].read(written, written.name)
    arrays = {layer.path: layer.arrays for layer in file.layers}
    # By the names of the module's tensors, which are the same whatever kind of file it comes from.
    origins = open_model(file).origins
    address = {name: arrays[path][position].address for name, (path, position) in origins.items()}
    return packed.Content(
        tensors=held.arrays,
        coded={address[name]: _as_stored(model.module, name, coded) for name, coded in model.coded.items()},
        floats={address[name]: precision for name, precision in model.floats.items()},
        about={"groups": held.groups, "arrays": list(held.arrays), "members": held.members},
    )


def _as_stored(module: object, name: str, coded: Coded) -> Coded:
    """Codes and scale in the layout of the file, which may be another than that of the interpreter."""
    if not isinstance(module, KerasNetwork):
        raise TypeError(f"a {type(module).__name__} is no Keras network")
    codes = module.as_stored({name: coded.codes})[name]
    scale = module.as_stored({name: coded.scale.expand_as(coded.codes).contiguous()})[name]
    for axis in range(scale.dim()):
        first = scale.narrow(axis, 0, 1)
        scale = first if bool((scale == first).all()) else scale
    return replace(coded, codes=codes.contiguous(), scale=scale.contiguous())


def _unpacked(path: Path) -> _Unpacked:
    if sniff(path) is Kind.HDF5:
        return _hdf5(path, None)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        names = [name for name in archive.namelist() if name != _ARRAYS and not name.endswith("/")]
        arrays = Path(folder) / _ARRAYS
        arrays.write_bytes(archive.read(_ARRAYS))
        return _hdf5(arrays, {name: archive.read(name).decode() for name in names})


def _hdf5(path: Path, members: Mapping[str, str] | None) -> _Unpacked:
    with h5py.File(path) as file:
        groups, arrays = {"": _attributes(file)}, dict[str, Tensor]()
        for address, held in _inside(file, ""):
            if isinstance(held, h5py.Group):
                groups[address] = _attributes(held)
            else:
                arrays[address] = _tensor(address, held)
    return _Unpacked(arrays=arrays, groups=groups, members=members)


def _inside(group: h5py.Group, prefix: str) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    for key, held in group.items():
        yield f"{prefix}{key}", held
        if isinstance(held, h5py.Group):
            yield from _inside(held, f"{prefix}{key}/")


def _tensor(address: str, held: h5py.Dataset) -> Tensor:
    array = np.asarray(held[()])
    if array.dtype.kind not in "fiub":
        raise PrecisionImpossible(
            f"format=safetensors holds numbers alone, and {address} holds texts. Nearest: format=onnx.", field="format"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _attributes(held: h5py.Group) -> dict[str, Any]:
    return {name: _plain(value) for name, value in held.attrs.items()}


def _plain(value: Any) -> Any:
    """An attribute as JSON has it: a text, a list of them, or numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def _verdict(job: dict[str, Any], folder: Path) -> Any:
    try:
        return run_clean(SCRIPT, job, folder, seconds=SECONDS, with_torch=True)
    except CleanProcessFailed as e:
        raise ReloadFailed(f"The packed file did not load back in a process of its own: {trimmed(str(e))}") from e
