"""The parameters of the two pruning calls: one table that the reader and the Swagger page share.

Here: names, other names, what each may hold, how a set of texts becomes a `Request`. Not here: files (`http.parts`),
the multipart body (`http.upload`), and what a percentage or an input size is (`records.request`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from coppice.errors import BadRequest, InputSizeInvalid, ParameterInvalid, ParameterMissing
from coppice.http.names import unknown_name
from coppice.http.parts import part_names, parts_of
from coppice.records.request import Framework, Part, Request, parse_input_size, parse_omit, parse_percent

_BOTH = frozenset(Framework)
_PYTORCH = frozenset({Framework.PYTORCH})
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
    example: str | float
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
        example=0.4,
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
        example=0,
    ),
    Parameter(
        name="model_type",
        attribute="framework",
        read=_read_type,
        description="`pt` or `tf`; the call says it already, and a contradiction is refused.",
        example="pt",
    ),
)


def parameters_of(framework: Framework) -> tuple[Parameter, ...]:
    """The parameters that a call takes."""
    return tuple(parameter for parameter in PARAMETERS if framework in parameter.calls)


def parameter_names(framework: Framework) -> frozenset[str]:
    """Every name under which a call takes a parameter."""
    return frozenset(name for parameter in parameters_of(framework) for name in _names(parameter))


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
            elsewhere = {other for each in PARAMETERS for other in _names(each)} | part_names(framework)
            raise unknown_name(f"{framework}_prune", name, "parameter", names, elsewhere)
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


def _names(parameter: Parameter) -> tuple[str, ...]:
    return (parameter.name, *parameter.aliases)
