"""The parameters of the calls that take a model: one table that the reader and the Swagger page share.

Here: names, other names, what each may hold, how a set of texts becomes a `Request`. Not here: files (`http.parts`),
the multipart body (`http.upload`), and what a percentage or an input size is (`records.request`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from coppice.errors import BadRequest, InputSizeInvalid, ParameterInvalid, ParameterMissing
from coppice.http.intake import INTAKES, Intake
from coppice.http.names import unknown_name
from coppice.http.parts import UploadPart, frameworks_of, part_names, parts_of
from coppice.records.inputs import parse_input_size, parse_model_args
from coppice.records.request import Framework, Request, Task, parse_heads, parse_omit, parse_percent

_ALL = frozenset(Framework)
_PYTORCH = frozenset({Framework.PYTORCH})
_ONNX = frozenset({Framework.ONNX})
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
        raise ParameterInvalid(f"model_type={text!r} is none of {', '.join(Framework)}.", field="model_type") from e


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
    calls: frozenset[Framework] = _ALL
    missing: type[BadRequest] | None = None
    #: Calls that can do without, though others can't.
    optional: frozenset[Framework] = frozenset()
    #: What a call of that task takes where nothing is given.
    otherwise: Mapping[Task, object] = field(default_factory=dict)

    def required_by(self, intake: Intake) -> bool:
        """Whether the call can't do without, whatever model is sent."""
        return (
            self.missing is not None
            and intake.task not in self.otherwise
            and intake.frameworks <= self.calls - self.optional
        )


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
        otherwise={Task.INSPECT: 0.5},
    ),
    Parameter(
        name="input_size",
        attribute="input_size",
        read=parse_input_size,
        description="Shape of one sample, without the batch dimension: `1,28,28` for a grey image of 28x28. Several "
        "inputs: `3,224,224;10`. Whole numbers below a limit: `128:int64<30522`. By keyword: `mask=128:int64`. One "
        "number for each sample: `():int64<1000`. An ONNX model mostly says it itself.",
        example="1,28,28",
        calls=_PYTORCH | _ONNX,
        missing=InputSizeInvalid,
        optional=_ONNX,
    ),
    Parameter(
        name="model_name",
        attribute="model_name",
        read=_read_name,
        description="The model's class in `class_def`, or a function that builds the model. It is called as in "
        "`Net()`, or with `model_args`.",
        example="Net",
        calls=_PYTORCH,
        missing=ParameterMissing,
    ),
    Parameter(
        name="model_args",
        attribute="model_args",
        read=parse_model_args,
        description='Arguments of the model\'s class, as JSON: `{"classes": 10}` by name, or `[10, 64]` in order.',
        example='{"classes": 10}',
        calls=_PYTORCH,
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
        name="heads",
        attribute="heads",
        read=parse_heads,
        description="What attention loses: `width` makes every head narrower, `whole` removes heads.",
        example="width",
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
        description="`pt`, `tf` or `onnx`; the call says it already, or the files do, and a contradiction is refused.",
        example="pt",
    ),
)


def parameters_of(intake: Intake) -> tuple[Parameter, ...]:
    """The parameters that a call takes."""
    return tuple(parameter for parameter in PARAMETERS if intake.frameworks & parameter.calls)


def parameter_names(intake: Intake) -> frozenset[str]:
    """Every name under which a call takes a parameter."""
    return frozenset(name for parameter in parameters_of(intake) for name in _names(parameter))


def read_parameters(intake: Intake, given: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Values by attribute of `Request`, of those that were given.

    Raises ParameterInvalid for a name that the call doesn't have and for two values of one parameter, and whatever
    the value itself is refused with. An empty value is none.
    """
    names = {name: parameter for parameter in parameters_of(intake) for name in _names(parameter)}
    texts: dict[str, str] = {}
    values: dict[str, object] = {}
    for name, text in given:
        parameter = names.get(name)
        if parameter is None:
            elsewhere = {other for each in PARAMETERS for other in _names(each)} | part_names(intake)
            raise unknown_name(intake.call, name, "parameter", names, elsewhere)
        if not text.strip():
            continue
        if texts.setdefault(parameter.name, text) != text:
            raise ParameterInvalid(
                f"{parameter.name} is given twice: {texts[parameter.name]!r} and {text!r}. Give it once.",
                field=parameter.name,
            )
        values[parameter.attribute] = parameter.read(text)
    named = values.get("framework")
    if named is not None and named not in intake.frameworks:
        (taken,) = intake.frameworks
        raise ParameterInvalid(
            f"model_type={named} contradicts the call: {intake.call} takes {taken} models. "
            f"Use {_call_for(named)}, or leave model_type out.",
            field="model_type",
        )
    return values


def to_request(intake: Intake, values: Mapping[str, object], files: Mapping[UploadPart, str]) -> Request:
    """The job that was asked for; raises for the first required parameter or part that is missing."""
    framework = _framework(intake, values, files)
    complete = {**values, "framework": framework, "task": intake.task}
    for parameter in parameters_of(intake):
        if framework not in parameter.calls:
            if parameter.attribute in values:
                raise ParameterInvalid(f"{parameter.name} means nothing for a {framework} model.", field=parameter.name)
            continue
        if parameter.attribute in complete:
            continue
        if intake.task in parameter.otherwise:
            complete[parameter.attribute] = parameter.otherwise[intake.task]
        elif parameter.missing is not None and framework not in parameter.optional:
            raise parameter.missing(
                f"{parameter.name} is missing. Add e.g. {parameter.name}={parameter.example}. "
                f"{parameter.description.replace('`', '')}",
                field=parameter.name,
            )
    given = {part.part: name for part, name in files.items()}
    for part in parts_of(intake):
        if framework in part.calls and part.required and part.part not in given:
            raise ParameterMissing(
                f"{part.part} is missing. Send it as a file part, e.g. curl --form {part.part}=@{part.example}.",
                field=part.part,
            )
    return Request.model_validate({**complete, "files": given})


def _framework(intake: Intake, values: Mapping[str, object], files: Mapping[UploadPart, str]) -> Framework:
    """The framework that the call, `model_type` and the files agree on; raises where they don't, or don't say."""
    left = intake.frameworks
    for part, given in files.items():
        taken = frameworks_of(intake, part, given)
        if not left & taken:
            raise ParameterInvalid(
                f"{part.part} is no part of a {'/'.join(left)} model, as which the other files came.", field=part.part
            )
        left &= taken
    named = values.get("framework")
    if named is not None and named not in left:
        raise ParameterInvalid(
            f"model_type={named} contradicts the files, which are those of a {'/'.join(left)} model.",
            field="model_type",
        )
    if named is not None:
        return Framework(str(named))
    if not files and len(left) > 1:
        raise ParameterMissing(
            "model is missing. Send a Keras model as the file part model, a PyTorch model as weights and class_def.",
            field="model",
        )
    # Of what the file may be, what the parameters mean something for; `formats.recognised` looks into the file.
    meant = [parameter.calls for parameter in PARAMETERS if parameter.attribute in values]
    fitting = [framework for framework in Framework if framework in left and all(framework in one for one in meant)]
    return min(fitting or left, key=list(Framework).index)


def _call_for(framework: object) -> str:
    return next(name for name, intake in INTAKES.items() if intake.frameworks == {framework})


def _names(parameter: Parameter) -> tuple[str, ...]:
    return (parameter.name, *parameter.aliases)
