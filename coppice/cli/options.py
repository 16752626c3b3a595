"""The arguments that `prune` and `inspect` share, and the request that they make."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from coppice.errors import ParameterMissing, UnknownFormat
from coppice.records.inputs import parse_input_size, parse_model_args
from coppice.records.request import Framework, Part, Request, parse_heads, parse_omit, parse_percent

File = Annotated[
    Path,
    typer.Argument(
        help="the model: .pth, .pt or .safetensors (a state dict), .h5, .keras, .onnx, or a SavedModel (folder or .zip)"
    ),
]
Percent = Annotated[str, typer.Option(help="fraction of the channels of every group to remove, e.g. 0.4")]
Omit = Annotated[
    str, typer.Option(help="layers that keep their output channels: names, prefixes or globs, separated by commas")
]
Criterion = Annotated[str, typer.Option(help="what decides which channels go: l1, l2, random")]
Heads = Annotated[str, typer.Option(help="what attention loses: width (every head gets narrower) or whole (heads)")]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
ClassDef = Annotated[Path | None, typer.Option(help="Python file that defines the model (PyTorch)")]
ModelName = Annotated[str | None, typer.Option(help="class to build from it, or a function that does (PyTorch)")]
ModelArgs = Annotated[
    str | None, typer.Option(help='its arguments as JSON: {"classes": 10} by name, [10] in order (PyTorch)')
]
InputSize = Annotated[
    str | None,
    typer.Option(help="shape of one sample, no batch dimension: 1,28,28; several: 3,32,32;10; words: 128:int64<30522"),
]
Dataset = Annotated[Path | None, typer.Option(help="sample data: a DataLoader saved by torch.save (PyTorch)")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document, also for a failure")]

#: suffix of the model's file -> family of calls, and the part that the file is.
KINDS: dict[str, tuple[Framework, Part]] = {
    ".pth": (Framework.PYTORCH, Part.WEIGHTS),
    ".pt": (Framework.PYTORCH, Part.WEIGHTS),
    ".bin": (Framework.PYTORCH, Part.WEIGHTS),
    ".ckpt": (Framework.PYTORCH, Part.WEIGHTS),
    ".pkl": (Framework.PYTORCH, Part.WEIGHTS),
    ".tar": (Framework.PYTORCH, Part.WEIGHTS),
    ".safetensors": (Framework.PYTORCH, Part.WEIGHTS),
    ".h5": (Framework.KERAS, Part.MODEL),
    ".hdf5": (Framework.KERAS, Part.MODEL),
    ".keras": (Framework.KERAS, Part.MODEL),
    ".zip": (Framework.KERAS, Part.MODEL),
    ".onnx": (Framework.ONNX, Part.MODEL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What was typed, before it is read."""

    file: Path
    percent: str
    omit: str
    criterion: str
    seed: int
    heads: str
    class_def: Path | None
    model_name: str | None
    model_args: str | None
    input_size: str | None
    dataset: Path | None


@contextmanager
def request_of(arguments: Arguments) -> Iterator[tuple[Request, dict[Part, Path]]]:
    """The request and its files; a SavedModel folder is zipped for as long as the context lasts."""
    if not arguments.file.is_dir():
        yield _request(arguments, arguments.file)
        return
    with tempfile.TemporaryDirectory(prefix="coppice-") as folder:
        yield _request(arguments, _zipped(arguments.file, Path(folder)))


def _request(arguments: Arguments, model: Path) -> tuple[Request, dict[Part, Path]]:
    if model.suffix.lower() not in KINDS:
        raise UnknownFormat(f"{model.name}: the suffix is none of {', '.join(KINDS)}.", field="file")
    framework, part = (Framework.ONNX, Part.MODEL) if _holds_onnx(model) else KINDS[model.suffix.lower()]
    files = {part: model}
    if framework is Framework.PYTORCH:
        if arguments.class_def is None or arguments.model_name is None:
            raise ParameterMissing(
                f"{model.name} holds tensors only: name the Python file that defines the model and its class, "
                "e.g. --class-def model.py --model-name Net.",
                field="class_def" if arguments.class_def is None else "model_name",
            )
        files[Part.CLASS_DEF] = arguments.class_def
        if arguments.dataset is not None:
            files[Part.DATASET] = arguments.dataset
    for name, path in files.items():
        if not path.is_file():
            raise ParameterMissing(f"{path}: no such file.", field=name.value)
    request = Request(
        framework=framework,
        percent=parse_percent(arguments.percent),
        omit=parse_omit(arguments.omit),
        criterion=arguments.criterion,
        seed=arguments.seed,
        heads=parse_heads(arguments.heads),
        input_size=parse_input_size(arguments.input_size),
        model_name=arguments.model_name,
        model_args=parse_model_args(arguments.model_args),
        files={name: path.name for name, path in files.items()},
    )
    return request, files


def _holds_onnx(model: Path) -> bool:
    """Whether the file is a zip of an ONNX model with its external data."""
    if not zipfile.is_zipfile(model):
        return False
    with zipfile.ZipFile(model) as archive:
        return any(name.lower().endswith(".onnx") for name in archive.namelist())


def _zipped(folder: Path, into: Path) -> Path:
    if not (folder / "saved_model.pb").is_file():
        raise UnknownFormat(f"{folder}: a folder without saved_model.pb is no SavedModel.", field="file")
    archive = into / f"{folder.resolve().name}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder.parent))
    return archive
