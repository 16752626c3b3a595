"""What a user asked for, as plain data, and the one reader of the parameters that users type."""

from __future__ import annotations

import math
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from coppice.errors import InputSizeInvalid, ParameterInvalid, ParameterMissing, PercentOutOfRange

#: More numbers in one example input than any model that fits a job's memory would take.
MAX_INPUT_ELEMENTS = 64 * 1024 * 1024


class Framework(StrEnum):
    """The family of calls that a request belongs to; the values are those of the documents."""

    PYTORCH = "pt"
    KERAS = "tf"


class Task(StrEnum):
    """What is to be done with the model."""

    PRUNE = "prune"
    INSPECT = "inspect"


class Part(StrEnum):
    """The uploaded files of a request, by the names of their multipart parts."""

    MODEL = "model"
    WEIGHTS = "weights"
    CLASS_DEF = "class_def"
    DATASET = "dataset"


class Record(BaseModel):
    """A frozen value that prints, compares and travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Record):
    """One job: what to cut, or to look at, and from which files."""

    framework: Framework
    task: Task = Task.PRUNE
    percent: float = Field(ge=0, lt=1, description="fraction of the channels of every prunable group to remove")
    omit: tuple[str, ...] = Field(default=(), description="layers that keep their own output channels")
    criterion: str = "l1"
    seed: int = 0
    input_size: tuple[int, ...] | None = Field(default=None, description="shape of one sample, no batch dimension")
    model_name: str | None = Field(default=None, description="class to build from the class file")
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


def parse_omit(text: str | None) -> tuple[str, ...]:
    """Read a comma-separated list of layer names; empty entries are dropped."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def parse_input_size(text: str | None) -> tuple[int, ...] | None:
    """Read `1,28,28` (also `(1, 28, 28)` and `1x28x28`) as the shape of one sample; raises InputSizeInvalid."""
    if text is None or not text.strip():
        return None
    cleaned = text.strip().strip("()[]").replace("x", ",").rstrip(",")
    try:
        size = tuple(int(number) for number in cleaned.split(","))
    except ValueError as e:
        raise InputSizeInvalid(
            f"input_size={text!r} is not a list of whole numbers. For a 28x28 grey image write 1,28,28.",
            field="input_size",
        ) from e
    if any(number < 1 for number in size):
        raise InputSizeInvalid(f"input_size={text!r} has a size below 1.", field="input_size")
    if math.prod(size) > MAX_INPUT_ELEMENTS:
        raise InputSizeInvalid(
            f"input_size={text!r} is {math.prod(size):,} numbers; the limit is {MAX_INPUT_ELEMENTS:,}.",
            field="input_size",
        )
    return size
