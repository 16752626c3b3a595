"""What a user asked for, as plain data, and the readers of the parameters that users type."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from coppice.errors import ParameterInvalid, ParameterMissing, PercentOutOfRange
from coppice.records.inputs import Input, ModelArgs


class Framework(StrEnum):
    """The family of calls that a request belongs to; the values are those of the documents."""

    PYTORCH = "pt"
    KERAS = "tf"
    ONNX = "onnx"


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


class Part(StrEnum):
    """The uploaded files of a request, by the names of their multipart parts."""

    MODEL = "model"
    WEIGHTS = "weights"
    CLASS_DEF = "class_def"
    DATASET = "dataset"


class Record(BaseModel):
    """A frozen value that prints, compares and travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _inputs(given: Any) -> Any:
    """One shape stands for one input of that shape."""
    return ({"shape": given},) if isinstance(given, (tuple, list)) and given and isinstance(given[0], int) else given


class Request(Record):
    """One job: what to cut, or to look at, and from which files."""

    framework: Framework
    task: Task = Task.PRUNE
    percent: float = Field(ge=0, lt=1, description="fraction of `target` to remove; with `max_drop`, at most")
    percents: tuple[float, ...] = Field(default=(), description="the fractions of a sweep, ascending")
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
    round_to: int = Field(default=1, ge=1, le=1024, description="widths that are cut become multiples of it")
    ratios: dict[str, float] = Field(
        default_factory=dict, description="layer, prefix or glob -> fraction of its channels, in place of `percent`"
    )
    keep: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="layer -> numbers of output channels that stay whatever their score"
    )
    restore: bool = Field(default=True, description="repair the kept weights where there are samples")
    seed: int = 0
    heads: Heads = Field(default=Heads.WIDTH, description="whether attention loses width of heads, or whole heads")
    input_size: Annotated[tuple[Input, ...] | None, BeforeValidator(_inputs)] = Field(
        default=None, description="the inputs of one sample, no batch dimension"
    )
    model_name: str | None = Field(default=None, description="class to build from the class file")
    model_args: ModelArgs = Field(default=(), description="arguments with which it is built, positional or named")
    files: dict[Part, str] = Field(default_factory=dict, description="part -> file name as the user named it")


def parse_percent(text: str | float | None) -> float:
    """Read `percent`; raises ParameterMissing, ParameterInvalid or PercentOutOfRange, each saying what to write."""
    if text is None or (isinstance(text, str) and not text.strip()):
        raise ParameterMissing(
            "percent is missing. Give the fraction of channels to remove, e.g. 0.4.", field="percent"
        )
    try:
        percent = float(text)
    except ValueError as e:
        raise ParameterInvalid(
            f"percent={text!r} is not a number. Give a fraction such as 0.4.", field="percent"
        ) from e
    if math.isnan(percent) or not 0 <= percent < 1:
        hint = f" For {percent:g} % write {percent / 100:g}." if 1 < percent < 100 else ""
        raise PercentOutOfRange(
            f"percent={text} is outside 0 <= percent < 1: it is the fraction of channels to remove.{hint}",
            field="percent",
        )
    return percent


def parse_heads(text: str) -> Heads:
    """Read `width` or `whole`; raises ParameterInvalid."""
    try:
        return Heads(text.strip().lower())
    except ValueError as e:
        raise ParameterInvalid(
            f"heads={text!r} is neither width (every head gets narrower) nor whole (some heads go).", field="heads"
        ) from e


def parse_omit(text: str | None) -> tuple[str, ...]:
    """Read a comma-separated list of layer names; empty entries are dropped."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
