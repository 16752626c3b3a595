"""An upload of a Keras user, `.h5` or `.keras`, and the way back to the same kind of file in the same dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from torch import nn

from coppice.formats.dataset import Sent, sent_arrays
from coppice.formats.keras import h5 as keras_h5
from coppice.formats.keras import zip as keras_zip
from coppice.formats.keras.file import KerasFile
from coppice.formats.keras.network import open_model
from coppice.formats.keras.onnx import write_keras_onnx
from coppice.formats.keras.reload import reload_keras
from coppice.formats.pytorch.onnx import NotExportable, exported
from coppice.formats.saved_model import format as saved_model
from coppice.formats.saved_model import h5 as saved_model_h5
from coppice.formats.saved_model.constants import CantEdit
from coppice.formats.sniff import Kind, sniff
from coppice.formats.source import stem_of
from coppice.keras_layers import Dialect
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Report
from coppice.records.request import Part, Request
from coppice.tracing.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFormat:
    """How one kind of file is read and written."""

    read: Callable[[Path, str], KerasFile]
    write: Callable[[Path, KerasFile, Path, str], tuple[str, ...]]
    suffix: str
    media_type: str


#: By content: TensorFlow up to 2.12 wrote HDF5 under the name .keras.
FORMATS: dict[Kind, KerasFormat] = {
    Kind.HDF5: KerasFormat(read=keras_h5.read, write=keras_h5.write, suffix=".h5", media_type="application/x-hdf5"),
    Kind.KERAS: KerasFormat(read=keras_zip.read, write=keras_zip.write, suffix=".keras", media_type="application/zip"),
    Kind.SAVED_MODEL: KerasFormat(
        read=saved_model.read, write=saved_model.write, suffix=".zip", media_type="application/zip"
    ),
}


def open_keras(request: Request, files: Mapping[Part, Path]) -> KerasSource:
    """Read the model and run it once; raises what says why that can't be."""
    path = files[Part.MODEL]
    sent = sent_arrays(request, files)
    return KerasSource(path, request.files.get(Part.MODEL, path.name), seed=request.seed, sent=sent)


class KerasSource:
    """A Keras file that was read, and the interpreter's module of it."""

    def __init__(self, path: Path, name: str, *, seed: int, sent: Sent | None = None) -> None:
        self._path = path
        self._name = name
        self._format = FORMATS[sniff(path)]
        self._opened = open_model(self._format.read(path, name), seed=seed, sent=sent)
        self._notes: tuple[str, ...] = ()

    @property
    def network(self) -> Network:
        """The interpreter's module."""
        return self._opened.network

    @property
    def latencies(self) -> None:
        """Measured in torch, with everything else."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the written file does without."""
        return self._notes

    def write(self, pruned: nn.Module, plan: Plan, report: Report, out: Path) -> tuple[Artifact, ...]:  # noqa: ARG002
        """Edit a copy of the user's file."""
        edited = self._opened.edited(pruned)
        artifact = Artifact(name="model", file=self._file_name(), media_type=self._format.media_type)
        try:
            self._notes = self._format.write(self._path, edited, out / artifact.file, self._name)
        except CantEdit as reason:
            hdf5 = FORMATS[Kind.HDF5]
            stem = PurePath(artifact.file).stem
            artifact = Artifact(name="model", file=f"{stem}{hdf5.suffix}", media_type=hdf5.media_type)
            saved_model_h5.write(self._path, edited, out / artifact.file, self._name)
            why = (
                f"The graph of the SavedModel can't be edited safely: {reason}. The result is an .h5 of the same Keras."
            )
            self._notes = (why, keras_h5.OPTIMIZER_DROPPED)
        return (artifact, *self._onnx(pruned, out))

    def _onnx(self, pruned: nn.Module, out: Path) -> tuple[Artifact, ...]:
        """The pruned model for ONNX runtimes, channels last as its user feeds it; where it exports."""
        artifact = Artifact(
            name="onnx", file=f"{PurePath(self._file_name()).stem}.onnx", media_type="application/octet-stream"
        )
        try:
            write_keras_onnx(pruned, self.network, out / artifact.file)
        except NotExportable as reason:
            self._notes = (*self._notes, f"No ONNX file: {reason}")
            return ()
        return (artifact,)

    def reload(self, pruned: nn.Module, artifacts: tuple[Artifact, ...], out: Path) -> None:
        """Read the written file in a process of its own and compare what it computes."""
        written = next(out / artifact.file for artifact in artifacts if artifact.name == "model")
        reload_keras(pruned, self.network.inputs, written)

    def write_keras(self, module: nn.Module, folder: Path) -> Path:
        """Any copy of the network's module as a file that Keras itself loads: `.h5` or `.keras`, in the user's dialect.

        A SavedModel becomes an `.h5` of the same Keras.
        """
        edited = self._opened.edited(module)
        if self._format is FORMATS[Kind.SAVED_MODEL]:
            path = folder / "model.h5"
            saved_model_h5.write(self._path, edited, path, self._name)
        else:
            path = folder / f"model{self._format.suffix}"
            self._format.write(self._path, edited, path, self._name)
        return path

    @property
    def dialect(self) -> Dialect:
        """Which Keras the file is of."""
        return self._opened.file.dialect

    @property
    def stem(self) -> str:
        """The user's own name for the file, without its suffix, fit for the names of others."""
        return stem_of(self._name)

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        """From the interpreter, channels last as its user feeds it."""
        exported(write_keras_onnx, module, self.network, path)

    def _file_name(self) -> str:
        """The user's own name for it; a suffix that lies about the content is a habit that loaders rely on."""
        name = PurePath(self._name)
        suffix = name.suffix if name.suffix in (".h5", ".hdf5", ".keras") else self._format.suffix
        return f"{self.stem}_pruned{suffix}"
