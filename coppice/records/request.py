"""What a user asked for, as plain data, and what can't be asked for together.

How users type it is in `records.texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import product
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from coppice.errors import BadRequest, ParameterInvalid, ParameterMissing
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input, ModelArgs
from coppice.records.quantization import Activations, Asked, Format, Precision, Rounding, Wanted, wanted
from coppice.records.spot import WHOLE, Spot

#: The names of the criteria, for the server, which must not import the engine's table; a test holds them equal.
CRITERIA = ("auto", "l1", "l2", "geometric_median", "batch_norm", "taylor", "wanda", "obs", "random")
#: More points than a curve needs, and each costs a job of its own.
MAX_POINTS = 32
#: No hardware computes in wider blocks of channels.
MAX_ROUND_TO = 1024
#: With `max_drop`, the most that may go where `percent` doesn't say.
MOST = 0.9
#: What an inspection shows where `percent` doesn't say.
SHOWN = 0.5


class Heads(StrEnum):
    """What an attention loses: every head some of its width, or some heads all of theirs."""

    WIDTH = "width"
    WHOLE = "whole"


class Spread(StrEnum):
    """How the cut is spread over the groups."""

    UNIFORM = "uniform"  # every group loses the same share
    GLOBAL = "global"  # as many channels in all, taken where the model misses them least


class Target(StrEnum):
    """What `percent` is a share of."""

    CHANNELS = "channels"
    PARAMS = "params"
    MACS = "macs"
    BYTES = "bytes"
    LATENCY = "latency"


class Task(StrEnum):
    """What is to be done with the model."""

    PRUNE = "prune"
    INSPECT = "inspect"
    SWEEP = "sweep"
    QUANTIZE = "quantize"


class Part(StrEnum):
    """The uploaded files of a request, by the names of their multipart parts."""

    MODEL = "model"
    WEIGHTS = "weights"
    CLASS_DEF = "class_def"
    DATASET = "dataset"
    PLAN = "plan"


class Record(BaseModel):
    """A frozen value that prints, compares and travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _inputs(given: Any) -> Any:
    """One shape stands for one input of that shape."""
    return ({"shape": given},) if isinstance(given, (tuple, list)) and given and isinstance(given[0], int) else given


#: What only a cut has use for, and what only numbers of fewer bits have.
_OF_CUTS = ("omit", "criterion", "spread", "target", "round_to", "ratios", "keep", "restore", "heads")
_OF_NUMBERS = ("precision", "weights", "biases", "activations", "layers", "rounding", "output_format")


class Request(Record):
    """One job: what to cut, or to look at, and from which files."""

    framework: Framework
    task: Task = Task.PRUNE
    percent: float = Field(
        ge=0,
        lt=1,
        description="fraction of `target` to remove; with `max_drop`, at most; of a sweep, the largest",
    )
    percents: tuple[float, ...] = Field(
        default=(), max_length=MAX_POINTS, description="the fractions of a sweep, ascending"
    )
    omit: tuple[str, ...] = Field(default=(), description="layers that keep their own output channels")
    criterion: str = Field(default="auto", description="`auto`: obs where there are samples, l1 where there are none")
    spread: Spread = Spread.UNIFORM
    target: Target = Target.CHANNELS
    max_drop: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="largest loss of accuracy, or of agreement with the original where there are no labels, as a "
        "fraction: the smallest model within it is looked for",
    )
    round_to: int = Field(default=1, ge=1, le=MAX_ROUND_TO, description="widths that are cut become multiples of it")
    ratios: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default_factory=dict, description="layer, prefix or glob -> fraction of its channels, in place of `percent`"
    )
    keep: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        default_factory=dict, description="layer -> numbers of output channels that stay whatever their score"
    )
    restore: bool = Field(default=True, description="repair the kept weights where there are samples")
    precision: Precision | None = Field(
        default=None,
        description="of the weights, and of biases and activations what goes with it; of a cut, quantize what is left",
    )
    precisions: tuple[Precision, ...] = Field(
        default=(),
        max_length=MAX_POINTS,
        description="of a sweep, each as `precision` of every ratio, float32 being what is not quantized; without "
        "ratios, of the model as it is",
    )
    weights: Precision | None = Field(default=None, description="of the weights alone")
    biases: Precision | None = Field(default=None, description="of the biases alone")
    activations: Activations | None = Field(default=None, description="of what flows through the model alone")
    layers: dict[str, Precision] = Field(
        default_factory=dict, description="layer, prefix or glob -> precision of its weights, in place of `weights`"
    )
    rounding: Rounding = Field(default=Rounding.AUTO, description="how weights become whole numbers")
    output_format: Format | None = Field(default=None, description="kind of the file with the quantized model")
    seed: int = 0
    heads: Heads = Field(default=Heads.WIDTH, description="whether attention loses width of heads, or whole heads")
    input_size: Annotated[tuple[Input, ...] | None, BeforeValidator(_inputs)] = Field(
        default=None, description="the inputs of one sample, no batch dimension"
    )
    model_name: str | None = Field(default=None, description="class to build from the class file")
    model_args: ModelArgs = Field(default=(), description="arguments with which it is built, positional or named")
    source_txid: str | None = Field(
        default=None, description="the earlier job of the service whose result was taken as the files of the model"
    )
    files: dict[Part, str] = Field(default_factory=dict, description="part -> file name as the user named it")

    @model_validator(mode="before")
    @classmethod
    def _with_percent(cls, given: Any) -> Any:
        """The one place that knows what `percent` is where it isn't said."""
        if not isinstance(given, Mapping) or given.get("percent") is not None:
            return given
        return {**given, "percent": _percent(given)}

    @property
    def spots(self) -> tuple[Spot, ...]:
        """The points of a sweep beside the model as it was sent, by ratio and then as the precisions stand."""
        pairs = product(self.percents or (0.0,), self.precisions or (Precision.FLOAT32,))
        found = (Spot(percent=percent, precision=precision) for percent, precision in pairs)
        return tuple(spot for spot in found if spot.percent or spot.quantized)

    def at(self, spot: Spot) -> Request:
        """The request that makes one point of a sweep by itself."""
        idle = (() if spot.percent else _OF_CUTS) + (() if spot.quantized else _OF_NUMBERS)
        update = {name: Request.model_fields[name].get_default(call_default_factory=True) for name in idle}
        update |= {"percent": spot.percent, "percents": (), "precisions": ()}
        update["task"] = Task.QUANTIZE if spot.quantized and not spot.percent else Task.PRUNE
        return self.model_copy(update={**update, "precision": spot.precision} if spot.quantized else update)

    @property
    def quantization(self) -> Wanted | None:
        """What was asked of precision; None where nothing was, or of a sweep, whose points say it one by one.

        Raises PrecisionImpossible, ParameterMissing.
        """
        said = (self.precision, self.weights, self.biases, self.activations, self.layers, self.output_format)
        if self.task is Task.SWEEP or (self.task is not Task.QUANTIZE and not any(said)):
            return None
        asked = Asked(
            precision=self.precision,
            weights=self.weights,
            biases=self.biases,
            activations=self.activations,
            output_format=self.output_format,
        )
        return wanted(self.framework, asked)

    @model_validator(mode="after")
    def _of_one_mind(self) -> Self:
        for field, kind, told, contradicts in CONTRADICTIONS:
            if contradicts(self):
                raise kind(told, field=field)
        asked: list[Request] = [self, *(self.at(spot) for spot in self.spots if spot.quantized)]
        for one in asked:
            one.quantization  # noqa: B018  which raises
        return self


def _percent(given: Mapping[str, Any]) -> float:
    if given.get("percents"):
        return float(max(given["percents"]))
    if given.get("task") == Task.INSPECT:
        return SHOWN
    if given.get("task") in (Task.QUANTIZE, Task.SWEEP) or Part.PLAN in given.get("files", ()):
        return 0.0
    if given.get("max_drop") is not None:
        return MOST
    raise ParameterMissing(
        "percent is missing. Give the fraction to remove, e.g. percent=0.4; or, with samples, max_drop=0.01 for the "
        "smallest model that loses no more than 1 % of accuracy.",
        field="percent",
    )


def _cut_beside_plan(name: str) -> Callable[[Request], bool]:
    """Whether a request with a plan says by this attribute, too, what is to go."""
    unsaid = 0.0 if name == "percent" else Request.model_fields[name].get_default(call_default_factory=True)
    return lambda request: Part.PLAN in request.files and getattr(request, name) != unsaid


#: (field, error, what to say, whether it is so): what can't be asked for together.
CONTRADICTIONS: tuple[tuple[str, type[BadRequest], str, Callable[[Request], bool]], ...] = (
    (
        "max_drop",
        ParameterInvalid,
        "max_drop looks for the smallest model within a loss, and target says how small it shall be: give one of them.",
        lambda request: request.max_drop is not None and request.target is not Target.CHANNELS,
    ),
    (
        "max_drop",
        ParameterInvalid,
        "max_drop looks for one model, and a sweep makes one for every ratio: leave max_drop out, or prune.",
        lambda request: request.max_drop is not None and request.task is Task.SWEEP,
    ),
    (
        "percents",
        ParameterMissing,
        "percents is missing. Give ratios, e.g. percents=0.2,0.4,0.6,0.8, or precisions, or both.",
        lambda request: request.task is Task.SWEEP and not (request.percents or request.precisions),
    ),
    (
        "percents",
        ParameterInvalid,
        "percents has a 0: the whole model is the first point of every curve. Leave it out.",
        lambda request: 0 in request.percents and not request.precisions,
    ),
    (
        "precisions",
        ParameterInvalid,
        "precisions are those of a sweep. Give precision for a single model, or sweep.",
        lambda request: request.task is not Task.SWEEP and bool(request.precisions),
    ),
    (
        "precision",
        ParameterInvalid,
        "precision is that of one model, and a sweep has several: give precisions, e.g. precisions=float32,int8.",
        lambda request: request.task is Task.SWEEP and request.precision is not None,
    ),
    (
        "weights",
        ParameterInvalid,
        "weights is of one model, and a sweep has several: give precisions, e.g. precisions=float32,int8.",
        lambda request: request.task is Task.SWEEP and request.weights is not None,
    ),
    (
        "precisions",
        ParameterMissing,
        "precisions is missing: without them a sweep quantizes nothing. Add e.g. precisions=float32,int8.",
        lambda request: (
            request.task is Task.SWEEP
            and not any(spot.quantized for spot in request.spots)
            and any(getattr(request, name) != getattr(request.at(WHOLE), name) for name in _OF_NUMBERS)
        ),
    ),
    (
        "precisions",
        ParameterInvalid,
        "precisions has float32 alone, and nothing is cut: that is the model as it was sent. Add int8, or percents.",
        lambda request: request.task is Task.SWEEP and not request.spots,
    ),
    (
        "precisions",
        ParameterInvalid,
        f"percents times precisions are more than {MAX_POINTS} points. Give fewer of either.",
        lambda request: request.task is Task.SWEEP and len(request.spots) > MAX_POINTS,
    ),
    (
        "max_drop",
        ParameterInvalid,
        "max_drop is that of the cut, and rounding loses more: prune with it, then quantize the result (source_txid).",
        lambda request: (
            request.max_drop is not None and request.task is Task.PRUNE and request.quantization is not None
        ),
    ),
    (
        "percent",
        ParameterInvalid,
        "percent is the fraction of a cut, and quantize cuts nothing: prune with quantize=int8 does both.",
        lambda request: request.task is Task.QUANTIZE and request.percent != 0,
    ),
    (
        "percents",
        ParameterInvalid,
        "percents are the ratios of a sweep. Give percent for a single model, or sweep.",
        lambda request: request.task is not Task.SWEEP and bool(request.percents),
    ),
    (
        "plan",
        ParameterInvalid,
        "plan says which channels one model loses: prune by it, or leave it out.",
        lambda request: Part.PLAN in request.files and request.task is not Task.PRUNE,
    ),
    *(
        (
            name,
            ParameterInvalid,
            f"plan says which channels go, and {name} would say it, too: leave one of them out.",
            _cut_beside_plan(name),
        )
        for name in ("percent", "max_drop", *_OF_CUTS)
        if name != "restore"
    ),
)
