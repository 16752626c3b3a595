"""The options that the commands share, as records whose fields are the flags, and the request that they make.

Every text is read by the reader of its name in `records.texts`, so a flag needs one line here and nothing else.
"""

from __future__ import annotations

import inspect
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from coppice.cli.completion import by_layer, one_of
from coppice.client.files import zipped
from coppice.errors import ParameterMissing, UnknownFormat
from coppice.records.frameworks import Framework
from coppice.records.plugins import formats
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import CRITERIA, Heads, Part, Request, Spread, Target, Task
from coppice.records.samples_needed import check_samples
from coppice.records.texts import READERS

Percent = Annotated[
    str | None, typer.Option(help="fraction of the channels of every group, or of --target, to remove, e.g. 0.4")
]
Weights = Annotated[
    str | None,
    typer.Option(
        help=f"how the weights alone are kept, in place of the precision: {', '.join(Precision)}",
        autocompletion=one_of(Precision),
    ),
]
Seed = Annotated[str, typer.Option(help="seed of everything random")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document, also for a failure")]


Asked = tuple[Request, dict[Part, Path]]


def _one_of(choices: Iterable[str]) -> str:
    return ", ".join(choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model, what else it takes to build it, and samples of what it is for."""

    file: Annotated[
        Path,
        typer.Argument(
            help="the model: .pth, .pt or .safetensors (a state dict), .h5, .keras, .onnx, or a SavedModel (folder or "
            ".zip)"
        ),
    ]
    class_def: Annotated[Path | None, typer.Option(help="Python file that defines the model (PyTorch)")] = None
    model_name: Annotated[
        str | None, typer.Option(help="class to build from it, or a function that does (PyTorch)")
    ] = None
    model_args: Annotated[
        str | None, typer.Option(help='its arguments as JSON: {"classes": 10} by name, [10] in order (PyTorch)')
    ] = None
    input_size: Annotated[
        str | None,
        typer.Option(
            help="shape of one sample, no batch dimension: 1,28,28; several: 3,32,32;10; words: 128:int64<30522"
        ),
    ] = None
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="sample data: .npz, .npy or .safetensors of inputs and labels, or a DataLoader saved by torch.save "
            "(PyTorch); with it the kept weights are repaired, and whole numbers calibrated"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What may go of which layer: all that an inspection has use for."""

    omit: Annotated[
        str, typer.Option(help="layers that keep their output channels: names, prefixes or globs, separated by commas")
    ] = ""
    ratios: Annotated[
        str, typer.Option(help="fractions of single layers, names, prefixes or globs: layer1=0.3,fc*=0.7")
    ] = ""
    keep: Annotated[
        str, typer.Option(help="output channels that stay, by layer and number from 0 on: conv1=0,3,5;fc1=0-15")
    ] = ""
    round_to: Annotated[str, typer.Option(help="widths that are cut become multiples of it, e.g. 8")] = "1"
    heads: Annotated[
        str,
        typer.Option(
            help="what attention loses: width (every head gets narrower) or whole (heads)", autocompletion=one_of(Heads)
        ),
    ] = Heads.WIDTH.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Shape):
    """How a model is cut."""

    criterion: Annotated[
        str,
        typer.Option(
            help=f"what decides which channels go: {_one_of(CRITERIA)}",
            autocompletion=one_of(CRITERIA),
        ),
    ] = "auto"
    spread: Annotated[
        str,
        typer.Option(
            help=f"how the cut is spread over the groups: {_one_of(Spread)}",
            autocompletion=one_of(Spread),
        ),
    ] = Spread.UNIFORM.value
    target: Annotated[
        str,
        typer.Option(
            help=f"what the fraction is of: {_one_of(Target)}",
            autocompletion=one_of(Target),
        ),
    ] = Target.CHANNELS.value
    restore: Annotated[bool, typer.Option(help="repair the kept weights where there are samples")] = True
    seed: Seed = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How a model's numbers are kept in fewer bits, beside the precision itself."""

    biases: Annotated[
        str | None,
        typer.Option(
            help=f"how biases are kept, where not as goes with the weights: {_one_of(Precision)}",
            autocompletion=one_of(Precision),
        ),
    ] = None
    activations: Annotated[
        str | None,
        typer.Option(
            help=f"how what flows through the model is kept: {_one_of(Activations)}", autocompletion=one_of(Activations)
        ),
    ] = None
    layers: Annotated[
        str,
        typer.Option(
            help="precisions of the weights of single layers, names, prefixes or globs: fc1=int8,fc*=int4",
            autocompletion=by_layer(Precision),
        ),
    ] = ""
    rounding: Annotated[
        str,
        typer.Option(
            help=f"how weights become whole numbers: {_one_of(Rounding)} (auto: gptq where samples are)",
            autocompletion=one_of(Rounding),
        ),
    ] = Rounding.AUTO.value
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "--output-format",
            help=f"kind of the quantized file: {_one_of(Format)}",
            autocompletion=one_of(Format),
        ),
    ] = None


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
    **dict.fromkeys(formats(), (Framework.ONNX, Part.MODEL)),
}


def flags(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are records of options become a flag for each of their fields."""
    hints = get_type_hints(command, include_extras=True)
    records = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        entries = _flags_of(records[name]) if name in records else [parameter.replace(annotation=hints[name])]
        shown += [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in entries]

    @wraps(command)
    def called(**given: Any) -> None:
        made = {
            name: record(**{entry.name: given.pop(entry.name) for entry in fields(record)})
            for name, record in records.items()
        }
        command(**made, **given)

    # Typer reads a command's flags from its signature.
    called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # a documented attribute of functions
    return called


def _flags_of(record: type[Any]) -> list[inspect.Parameter]:
    hints, given = get_type_hints(record, include_extras=True), inspect.signature(record).parameters
    return [given[entry.name].replace(annotation=hints[entry.name]) for entry in fields(record)]


@contextmanager
def request_of(
    model: Model, task: Task, *records: Shape | Numbers, plan: Path | None = None, **given: str | None
) -> Iterator[Asked]:
    """The request and its files; a SavedModel folder is zipped for as long as the context lasts.

    `given` are further attributes of the request, as they were typed.
    """
    more = {} if plan is None else {Part.PLAN: plan}
    texts = {name: text for record in (*map(asdict, records), given) for name, text in record.items()}
    if not model.file.is_dir():
        yield _request(model, model.file, task, texts, more)
        return
    with tempfile.TemporaryDirectory(prefix="coppice-") as folder:
        yield _request(model, zipped(model.file, Path(folder)), task, texts, more)


def _request(model: Model, file: Path, task: Task, texts: Mapping[str, Any], more: Mapping[Part, Path]) -> Asked:
    if file.suffix.lower() not in KINDS:
        raise UnknownFormat(f"{file.name}: the suffix is none of {', '.join(KINDS)}.", field="file")
    framework, part = (Framework.ONNX, Part.MODEL) if _holds_onnx(file) else KINDS[file.suffix.lower()]
    files = {part: file, **more}
    if framework is Framework.PYTORCH:
        if model.class_def is None or model.model_name is None:
            raise ParameterMissing(
                f"{file.name} holds tensors only: name the Python file that defines the model and its class, "
                "e.g. --class-def model.py --model-name Net.",
                field="class_def" if model.class_def is None else "model_name",
            )
        files[Part.CLASS_DEF] = model.class_def
    if model.dataset is not None:
        files[Part.DATASET] = model.dataset
    for name, path in files.items():
        if not path.is_file():
            raise ParameterMissing(f"{path}: no such file.", field=name.value)
    typed = {
        **texts,
        "input_size": model.input_size,
        "model_name": model.model_name,
        "model_args": model.model_args,
    }
    values = {name: READERS[name](text) for name, text in typed.items() if text is not None and text != ""}
    names = {name: path.name for name, path in files.items()}
    request = Request.model_validate({**values, "framework": framework, "task": task, "files": names})
    check_samples(request, Part.DATASET in files)
    return request, files


def _holds_onnx(model: Path) -> bool:
    """Whether the file is a zip of an ONNX model with its external data."""
    if not zipfile.is_zipfile(model):
        return False
    with zipfile.ZipFile(model) as archive:
        return any(name.lower().endswith(".onnx") for name in archive.namelist())
