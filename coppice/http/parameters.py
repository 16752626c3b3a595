"""The parameters and file parts of the two pruning calls: one table that the reader and the Swagger page share.

Here: names, other names, what each may hold, how a set of texts becomes a `Request`. Not here: the multipart body
(`http.upload`), and what a percentage or an input size is (`records.request`).
"""

from __future__ import annotations

import difflib
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from coppice.errors import BadRequest, InputSizeInvalid, ParameterInvalid, ParameterMissing, UnsupportedMediaType
from coppice.records.request import Framework, Part, Request, parse_input_size, parse_omit, parse_percent
from coppice.storage import safe_name

_BOTH = frozenset(Framework)
_PYTORCH = frozenset({Framework.PYTORCH})
_KERAS = frozenset({Framework.KERAS})
#: Larger seeds mean nothing more, and torch takes no more than 64 bits.
_MAX_SEED = 2**63 - 1


def _read_name(text: str) -> str:
    name = text.strip()
    if not name.isidentifier():
        raise ParameterInvalid(
            f"model_name={text!r} is not the name of a class. Write the bare name, e.g. Net.", field="model_name"
        )
    return name


def _read_seed(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,19}\s*", text) or int(text) > _MAX_SEED:
        raise ParameterInvalid(f"seed={text!r} is not a whole number from 0 to {_MAX_SEED}.", field="seed")
    return int(text)


def _read_type(text: str) -> Framework:
    try:
        return Framework(text.strip())
    except ValueError as e:
        raise ParameterInvalid(f"model_type={text!r} is neither pt nor tf.", field="model_type") from e


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter, by the name that the documents give it."""

    name: str
    attribute: str
    read: Callable[[str], object]
    description: str
    example: str
    json_type: str = "string"
    aliases: tuple[str, ...] = ()
    calls: frozenset[Framework] = _BOTH
    missing: type[BadRequest] | None = None


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="percent",
        attribute="percent",
        read=parse_percent,
        json_type="number",
        description="Fraction of the channels of every prunable group to remove, `0 <= percent < 1`: "
        "`0.4` removes 40 % of them.",
        example="0.4",
        missing=ParameterMissing,
    ),
    Parameter(
        name="input_size",
        attribute="input_size",
        read=parse_input_size,
        description="Shape of one sample, without the batch dimension: `1,28,28` for a grey image of 28x28.",
        example="1,28,28",
        calls=_PYTORCH,
        missing=InputSizeInvalid,
    ),
    Parameter(
        name="model_name",
        attribute="model_name",
        read=_read_name,
        description="The model's class in `class_def`. It is built without arguments, as in `Net()`.",
        example="Net",
        calls=_PYTORCH,
        missing=ParameterMissing,
    ),
    Parameter(
        name="ommitted",
        attribute="omit",
        read=parse_omit,
        description="Layers that keep all their output channels, separated by commas; a prefix (`layer1`) and a "
        "pattern (`layer1.*`) work, too. May be empty: the outputs of the model are kept in any case.",
        example="fc1,fc2",
        aliases=("omitted", "unprunable"),
    ),
    Parameter(
        name="criterion",
        attribute="criterion",
        read=str.strip,
        description="How the importance of a channel is judged: `l1`, `l2` or `random`.",
        example="l1",
    ),
    Parameter(
        name="seed",
        attribute="seed",
        read=_read_seed,
        json_type="integer",
        description="Seed of all that is drawn at random: the `random` criterion, and the input of the checks.",
        example="0",
    ),
    Parameter(
        name="model_type",
        attribute="framework",
        read=_read_type,
        description="`pt` or `tf`; the call says it already, and a contradiction is refused.",
        example="pt",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    """One file part, by the name that the documents give it."""

    part: Part
    suffixes: tuple[str, ...]
    description: str
    example: str
    calls: frozenset[Framework]
    aliases: tuple[str, ...] = ()
    required: bool = True


PARTS: tuple[UploadPart, ...] = (
    UploadPart(
        part=Part.MODEL,
        suffixes=(".h5", ".hdf5", ".zip", ".keras"),
        description="The Keras model: an `.h5` or `.keras` file, or a `.zip` of a SavedModel folder.",
        example="mnist_base.h5",
        calls=_KERAS,
        aliases=("file",),
    ),
    UploadPart(
        part=Part.WEIGHTS,
        suffixes=(".pth", ".pt", ".bin", ".ckpt", ".pkl", ".safetensors"),
        description='The state dict: `torch.save(model.state_dict(), "mnist_cnn.pth")`.',
        example="mnist_cnn.pth",
        calls=_PYTORCH,
        aliases=("file",),
    ),
    UploadPart(
        part=Part.CLASS_DEF,
        suffixes=(".py",),
        description="The Python file that defines the model's class, complete with its imports. Its name is the module "
        "that the pruned model refers to: keep it importable where you load the result.",
        example="model.py",
        calls=_PYTORCH,
    ),
    UploadPart(
        part=Part.DATASET,
        suffixes=(".pth", ".pt", ".pkl"),
        description='Sample data: `torch.save(train_loader, "train_loader.pth")`. Optional.',
        example="train_loader.pth",
        calls=_PYTORCH,
        required=False,
    ),
)


def parameters_of(framework: Framework) -> tuple[Parameter, ...]:
    """The parameters that a call takes."""
    return tuple(parameter for parameter in PARAMETERS if framework in parameter.calls)


def parts_of(framework: Framework) -> tuple[UploadPart, ...]:
    """The file parts that a call takes."""
    return tuple(part for part in PARTS if framework in part.calls)


def parameter_names(framework: Framework) -> frozenset[str]:
    """Every name under which a call takes a parameter."""
    return frozenset(name for parameter in parameters_of(framework) for name in _names(parameter))


def part_names(framework: Framework) -> frozenset[str]:
    """Every name under which a call takes a file."""
    return frozenset(name for part in parts_of(framework) for name in (part.part.value, *part.aliases))


def read_parameters(framework: Framework, given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Values by attribute of `Request`, of those that were given.

    Raises ParameterInvalid for a name that the call doesn't have and for two values of one parameter, and whatever
    the value itself is refused with. An empty value is none.
    """
    names = {name: parameter for parameter in parameters_of(framework) for name in _names(parameter)}
    texts: dict[str, str] = {}
    values: dict[str, object] = {}
    for name, text in given:
        parameter = names.get(name)
        if parameter is None:
            raise _unknown(framework, name, "parameter", names)
        if not text.strip():
            continue
        if texts.setdefault(parameter.name, text) != text:
            raise ParameterInvalid(
                f"{parameter.name} is given twice: {texts[parameter.name]!r} and {text!r}. Give it once.",
                field=parameter.name,
            )
        values[parameter.attribute] = parameter.read(text)
    if values.get("framework", framework) is not framework:
        raise ParameterInvalid(
            f"model_type={values['framework']} contradicts the call: {framework}_prune takes {framework} models. "
            f"Use {values['framework']}_prune, or leave model_type out.",
            field="model_type",
        )
    return values


def to_request(framework: Framework, values: Mapping[str, object], files: Mapping[Part, str]) -> Request:
    """The job that was asked for; raises for the first required parameter or part that is missing."""
    for parameter in parameters_of(framework):
        if parameter.missing is not None and parameter.attribute not in values:
            raise parameter.missing(
                f"{parameter.name} is missing. Add e.g. {parameter.name}={parameter.example}. "
                f"{parameter.description.replace('`', '')}",
                field=parameter.name,
            )
    for part in parts_of(framework):
        if part.required and part.part not in files:
            raise ParameterMissing(
                f"{part.part} is missing. Send it as a file part, e.g. curl --form {part.part}=@{part.example}.",
                field=part.part,
            )
    return Request.model_validate({**values, "framework": framework, "files": dict(files)})


def find_part(framework: Framework, name: str) -> UploadPart:
    """The part that a multipart name means; raises ParameterInvalid with the nearest name."""
    names = {alias: part for part in parts_of(framework) for alias in (part.part.value, *part.aliases)}
    if name not in names:
        raise _unknown(framework, name, "file part", names)
    return names[name]


def file_name(part: UploadPart, given: str) -> str:
    """The name to keep a file under: safe, and the user's own where it matters.

    Raises UnsupportedMediaType for a suffix that the part doesn't take, and for a class file that can't be imported
    by its name.
    """
    # ASCII, since the names of results are made from it and go into headers.
    name = safe_name(given).encode("ascii", "replace").decode().replace("?", "_")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in part.suffixes:
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} does not end in {_either(part.suffixes)}. {part.description.replace('`', '')}",
            field=part.part,
        )
    if part.part is Part.CLASS_DEF:
        _check_module(part, given, name)
    return name


def _check_module(part: UploadPart, given: str, name: str) -> None:
    module = name.removesuffix(PurePosixPath(name).suffix)
    # A pickle of the result names this module: what can't be imported by it can't be loaded either.
    if not (module.isidentifier() and name in given) or keyword.iskeyword(module):
        better = re.sub(r"\W", "_", module, flags=re.ASCII).strip("_") or "model"
        better = f"{better}_" if keyword.iskeyword(better) else better if better.isidentifier() else f"model_{better}"
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} can't be imported as a module. Rename it, e.g. to {better}.py.", field=part.part
        )
    if module in sys.stdlib_module_names or module in ("torch", "torchvision", "numpy", "coppice"):
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} would hide the module {module} that is installed. Rename it, e.g. to model.py.",
            field=part.part,
        )


def _names(parameter: Parameter) -> tuple[str, ...]:
    return (parameter.name, *parameter.aliases)


def _unknown(framework: Framework, name: str, kind: str, names: Mapping[str, object]) -> ParameterInvalid:
    other = {name for parameter in PARAMETERS for name in _names(parameter)} | {part.part.value for part in PARTS}
    shown = repr(name[:100])
    if name in other:
        why = f"{framework}_prune takes no {shown} as a {kind}."
    else:
        close = difflib.get_close_matches(name, names, n=1)
        why = f"{shown} is no {kind} of {framework}_prune." + (f" Did you mean {close[0]}?" if close else "")
    return ParameterInvalid(f"{why} It takes {', '.join(names)}.", field=name[:100])


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
