"""The parameters of the calls that take a model: one table that the reader and the Swagger page share.

Here: names, other names, which call takes which, and whether it says what to compute (`Request`) or how to handle the
job (`Terms`). Not here: files (`http.parts`), how a set of texts becomes those two (`http.reading`), and how a
percentage or an input size is read (`records.texts`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from coppice.errors import BadRequest, InputSizeInvalid, ParameterMissing
from coppice.http.intake import Intake
from coppice.records import terms, texts
from coppice.records.frameworks import Framework
from coppice.records.plugins import CRITERIA as OF_CRITERIA
from coppice.records.plugins import plugins
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.request import CRITERIA, MAX_POINTS, MOST, Heads, Part, Record, Request, Spread, Target, Task
from coppice.records.terms import Priority, Terms

_ALL = frozenset(Framework)
_PYTORCH = frozenset({Framework.PYTORCH})
_ONNX = frozenset({Framework.ONNX})
#: What an inspection, which shows an even cut and makes none, has no use for.
_CUTS = frozenset({Task.PRUNE, Task.SWEEP})
#: Where channels are looked at, whether they go or not.
_CHANNELS = _CUTS | {Task.INSPECT}
#: Where numbers may be kept in fewer bits: of what is left of a cut, or of the model as it is.
_BITS = _CUTS | {Task.QUANTIZE}
_ONE = _BITS - {Task.SWEEP}
#: What a parameter is an attribute of -> its readers.
_READERS: Mapping[type[Record], Mapping[str, Callable[[str], object]]] = {Request: texts.READERS, Terms: terms.READERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter, by the name that the documents give it."""

    name: str
    attribute: str
    description: str
    example: str | float
    json_type: str = "string"
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    calls: frozenset[Framework] = _ALL
    tasks: frozenset[Task] = frozenset(Task)
    missing: type[BadRequest] | None = None
    #: Calls that can do without, though others can't.
    optional: frozenset[Framework | Task] = frozenset()
    #: Attributes and file parts of which each says enough in its place.
    unless: frozenset[str] = frozenset()
    #: What it is an attribute of.
    of: type[Record] = Request

    @property
    def default(self) -> str | float | None:
        """What it is where nothing is given; None where that is nothing, or depends on the job."""
        value = self.of.model_fields[self.attribute].default
        return value if isinstance(value, str | int) else None

    def read(self, text: str) -> object:
        """The value that a user typed; raises a BadRequest that says what to write."""
        return _READERS[self.of][self.attribute](text)

    def missed(self, framework: Framework, task: Task, given: Collection[str]) -> type[BadRequest] | None:
        """What a job that is given those attributes is refused with, if it can't do without this one."""
        without = not {self.attribute, *self.unless}.isdisjoint(given) or self.optional & {framework, task}
        return None if without else self.missing

    def required_by(self, intake: Intake) -> bool:
        """Whether the call can't do without, whatever model is sent."""
        return (
            self.missing is not None
            and intake.task not in self.optional
            and intake.frameworks <= self.calls - self.optional
        )


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="percent",
        attribute="percent",
        json_type="number",
        description="Fraction of the channels of every prunable group to remove, `0 <= percent < 1`: "
        "`0.4` removes 40 % of them. With `target`, the fraction of that. With `max_drop`, or a plan, it may be left "
        "out.",
        example=0.4,
        tasks=frozenset({Task.PRUNE, Task.INSPECT}),
        missing=ParameterMissing,
        optional=frozenset({Task.INSPECT}),
        unless=frozenset({"max_drop", Part.PLAN}),
    ),
    Parameter(
        name="percents",
        attribute="percents",
        description=f"The fractions of the sweep, separated by commas, 1 to {MAX_POINTS}: one pruned model for each. "
        "With `precisions` they may be left out, and `0` is the model as it is.",
        example="0.2,0.4,0.6,0.8",
        tasks=frozenset({Task.SWEEP}),
        missing=ParameterMissing,
        unless=frozenset({"precisions"}),
    ),
    Parameter(
        name="input_size",
        attribute="input_size",
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
        description="The model's class in `class_def`, or a function that builds the model. It is called as in "
        "`Net()`, or with `model_args`.",
        example="Net",
        calls=_PYTORCH,
        missing=ParameterMissing,
    ),
    Parameter(
        name="model_args",
        attribute="model_args",
        description='Arguments of the model\'s class, as JSON: `{"classes": 10}` by name, or `[10, 64]` in order.',
        example='{"classes": 10}',
        calls=_PYTORCH,
    ),
    Parameter(
        name="ommitted",
        attribute="omit",
        description="Layers that keep all their output channels, separated by commas; a prefix (`layer1`) and a "
        "pattern (`layer1.*`) work, too. May be empty: the outputs of the model are kept in any case.",
        example="fc1,fc2",
        aliases=("omitted", "unprunable"),
        tasks=_CHANNELS,
    ),
    Parameter(
        name="criterion",
        attribute="criterion",
        description="How the importance of a channel is judged. `auto`: by samples where there are some (`dataset`), "
        "else `l1`.",
        example="l1",
        choices=(*CRITERIA, *plugins(OF_CRITERIA)),
        tasks=_CHANNELS,
    ),
    Parameter(
        name="spread",
        attribute="spread",
        description="`uniform`: every group loses the same fraction. `global`: as many channels in all, taken where "
        "the model misses them least.",
        example="uniform",
        choices=tuple(Spread),
        tasks=_CUTS,
    ),
    Parameter(
        name="target",
        attribute="target",
        description="What `percent` is a fraction of: `channels`, or the whole model's parameters (`params`), "
        "multiply-accumulates (`macs`), `bytes` or `latency`: `percent=0.4&target=bytes` is a model of 60 % the size.",
        example="channels",
        choices=tuple(Target),
        tasks=_CUTS,
    ),
    Parameter(
        name="max_drop",
        attribute="max_drop",
        json_type="number",
        description="The largest loss that you accept, of accuracy, or of agreement with the original where samples "
        "have no labels: `0.01` looks for the smallest model that loses no more than 1 %. Needs `dataset`. Of a cut, "
        f"`percent` is then the most that may go; {MOST:g} where it is left out. Of `quantize`, layers are raised to "
        "more bits one by one, those first that lose most by `precision`.",
        example=0.01,
        tasks=frozenset({Task.PRUNE, Task.QUANTIZE}),
    ),
    Parameter(
        name="round_to",
        attribute="round_to",
        json_type="integer",
        description="Layers that are cut become multiples of this many channels wide, as hardware likes: `8`.",
        example=8,
        tasks=_CHANNELS,
    ),
    Parameter(
        name="ratios",
        attribute="ratios",
        description="Fractions of single layers, in place of `percent`: `layer1=0.3,fc*=0.7`. Names, prefixes and "
        "patterns as in `ommitted`.",
        example="layer1=0.3,fc*=0.7",
        tasks=_CHANNELS,
    ),
    Parameter(
        name="keep",
        attribute="keep",
        description="Output channels that stay whatever they are judged to be worth, by layer and number, from 0 on: "
        "`conv1=0,3,5;fc1=0-15`.",
        example="conv1=0,3,5;fc1=0-15",
        tasks=_CHANNELS,
    ),
    Parameter(
        name="restore",
        attribute="restore",
        json_type="boolean",
        description="Whether the kept weights are repaired on the samples of `dataset`; they are where it is sent.",
        example="true",
        tasks=_CUTS,
    ),
    Parameter(
        name="precision",
        attribute="precision",
        description="How the weights are kept, and biases and activations with them as it goes together: `int8` is "
        "whole numbers throughout, which needs `dataset`; `int4`, `int2` and `int1` are of the weights. Of a cut: "
        "what is left is quantized, too. Which kind of file holds what is in the reference, under precisions.",
        example="int8",
        choices=tuple(Precision),
        aliases=("quantize",),
        tasks=_ONE,
        missing=ParameterMissing,
        optional=frozenset({Task.PRUNE}),
        unless=frozenset({"weights"}),
    ),
    Parameter(
        name="precisions",
        attribute="precisions",
        description="The precisions of the sweep, separated by commas: one model for each ratio and each of them, "
        "`float32` being what is not quantized. Without `percents`: the model as it is, in each of them.",
        example="float32,int8,int4",
        tasks=frozenset({Task.SWEEP}),
    ),
    Parameter(
        name="weights",
        attribute="weights",
        description="How the weights alone are kept, in place of `precision`. As text; as a file it is the state dict.",
        example="int4",
        choices=tuple(Precision),
        tasks=_ONE,
    ),
    Parameter(
        name="biases",
        attribute="biases",
        description="How the biases alone are kept: `int32` as integer kernels add them, or floats.",
        example="int32",
        choices=tuple(Precision),
        tasks=_BITS,
    ),
    Parameter(
        name="activations",
        attribute="activations",
        description="How alone what flows through the model is kept: `uint8` and `int8` with scales found on the "
        "samples of `dataset`, `dynamic` with scales found at every run, or floats.",
        example="uint8",
        choices=tuple(Activations),
        tasks=_BITS,
    ),
    Parameter(
        name="layers",
        attribute="layers",
        description="How the weights of single layers are kept: `conv1=int8,fc*=int4`. Names, prefixes and patterns.",
        example="conv1=int8,fc*=int4",
        tasks=_BITS,
    ),
    Parameter(
        name="rounding",
        attribute="rounding",
        description="How weights become whole numbers. `auto`: `gptq` where there are samples (`dataset`), else "
        "`nearest`.",
        example="gptq",
        choices=tuple(Rounding),
        tasks=_BITS,
    ),
    Parameter(
        name="format",
        attribute="output_format",
        description="Kind of the file with the quantized model. Without it: of a Keras model `tflite` where that can "
        "hold the precision, else `safetensors`; of the others `onnx`, but `safetensors` for `bfloat16`.",
        example="onnx",
        choices=tuple(Format),
        tasks=_BITS,
    ),
    Parameter(
        name="heads",
        attribute="heads",
        description="What attention loses: `width` makes every head narrower, `whole` removes heads.",
        example="width",
        choices=tuple(Heads),
        tasks=_CHANNELS,
    ),
    Parameter(
        name="seed",
        attribute="seed",
        json_type="integer",
        description="Seed of all that is drawn at random: the `random` criterion, the order of the samples, and the "
        "input of the checks.",
        example=0,
    ),
    Parameter(
        name="source_txid",
        attribute="source_txid",
        description="Transaction id of a prune call of yours: its result is the model, in place of the files and, "
        "unless given again, of `input_size`, `model_name` and `model_args`. Its `dataset` was deleted when it ended: "
        "send that again.",
        example="cf06e766-2d20-41ec-931e-0242ac170002",
        tasks=_BITS,
    ),
    Parameter(
        name="model_type",
        attribute="framework",
        description="`pt`, `tf` or `onnx`; the call says it already, or the files do, and a contradiction is refused.",
        example="pt",
        choices=tuple(Framework),
    ),
    Parameter(
        name="queue",
        attribute="queue",
        of=Terms,
        description="The workers that run the job, where the service has several kinds; by default the first.",
        example="cpu",
    ),
    Parameter(
        name="priority",
        attribute="priority",
        of=Terms,
        description="Which of your own jobs go first. It doesn't change when those of others do.",
        example="high",
        choices=tuple(Priority),
    ),
    Parameter(
        name="time_limit",
        attribute="time_limit",
        of=Terms,
        json_type="integer",
        description="Seconds after which the job is stopped and fails; the service's own limit is the most.",
        example=300,
    ),
    Parameter(
        name="webhook",
        attribute="webhook",
        of=Terms,
        description="Address, `https://...`, that gets a signed message when the job has ended.",
        example="https://example.org/finished",
    ),
)


def parameters_of(intake: Intake) -> tuple[Parameter, ...]:
    """The parameters that a call takes."""
    return tuple(
        parameter for parameter in PARAMETERS if intake.frameworks & parameter.calls and intake.task in parameter.tasks
    )


def parameter_names(intake: Intake) -> frozenset[str]:
    """Every name under which a call takes a parameter."""
    return frozenset(name for parameter in parameters_of(intake) for name in names(parameter))


def names(parameter: Parameter) -> tuple[str, ...]:
    """What a parameter may be called, the documents' name first."""
    return (parameter.name, *parameter.aliases)
