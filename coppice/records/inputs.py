"""What a model is fed and built with: shape and type of each input of one sample, arguments of the constructor.

`input_size` is a list of inputs separated by `;`. One input is `[name=]sizes[:type][<limit]`:

    1,28,28                                              one input of fractions
    3,224,224;10                                         two inputs
    128:int64<30522                                      whole numbers from 0 to 30521
    input_ids=128:int64<30522;attention_mask=128:int64   by keyword
    3,32,32;():int64<1000                                (): one number for each sample
"""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from coppice.errors import InputSizeInvalid, ParameterInvalid

#: More numbers in one example input than any model that fits a job's memory would take.
MAX_INPUT_ELEMENTS = 64 * 1024 * 1024
#: More inputs than the forward of any model has.
MAX_INPUTS = 64
#: Arguments are sizes and options; a text as long as this holds something else.
MAX_ARGUMENTS_CHARACTERS = 64 * 1024

#: What may be written for the type of an input -> the name that torch has for it.
TYPES = {
    **{name: name for name in ("float16", "bfloat16", "float32", "float64")},
    **{name: name for name in ("int8", "uint8", "int16", "int32", "int64", "bool")},
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "int": "int64",
    "long": "int64",
}
#: Types that count, and so may have a limit.
_COUNTING = frozenset({"int8", "uint8", "int16", "int32", "int64"})

_INPUT = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)\s*=)?\s*(?P<sizes>[^:<=]*?)\s*(?::\s*(?P<type>\w+)\s*)?(?:<\s*(?P<below>[0-9]{1,18}))?"
)

#: Positional arguments, or named ones.
ModelArgs: TypeAlias = tuple[Any, ...] | dict[str, Any]


class Input(BaseModel):
    """One input of one sample, no batch dimension."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...]
    dtype: str | None = Field(default=None, description="as torch names it; none: the type of the model's weights")
    below: int | None = Field(default=None, description="whole numbers from 0 up to this, not included")
    name: str | None = Field(default=None, description="the parameter of forward that is given this input by keyword")

    def __str__(self) -> str:
        name = f"{self.name}=" if self.name else ""
        dtype = f":{self.dtype}" if self.dtype else ""
        below = f"<{self.below}" if self.below is not None else ""
        return f"{name}{sizes(self.shape)}{dtype}{below}"


def sizes(shape: tuple[int, ...]) -> str:
    """`1,28,28`, as users write it."""
    return ",".join(map(str, shape)) or "()"


def parse_input_size(text: str | None) -> tuple[Input, ...] | None:
    """Read `1,28,28` (also `(1, 28, 28)` and `1x28x28`), or several inputs; raises InputSizeInvalid."""
    if text is None or not text.strip():
        return None
    entries = text.split(";")
    if len(entries) > MAX_INPUTS:
        raise _invalid(f"input_size lists {len(entries)} inputs; the limit is {MAX_INPUTS}.")
    inputs = tuple(_input(entry.strip(), text) for entry in entries)
    total = sum(math.prod(entry.shape) for entry in inputs)
    if total > MAX_INPUT_ELEMENTS:
        raise _invalid(f"input_size={text!r} is {total:,} numbers; the limit is {MAX_INPUT_ELEMENTS:,}.")
    names = [entry.name for entry in inputs if entry.name]
    if len(set(names)) != len(names):
        raise _invalid(f"input_size={text!r} names an input twice.")
    if any(before.name and not after.name for before, after in pairwise(inputs)):
        raise _invalid(f"input_size={text!r}: inputs without a name come first, as in a call of forward.")
    return inputs


def parse_model_args(text: str | None) -> ModelArgs:
    """Read the constructor's arguments, JSON: an object names them, an array gives them in order."""
    if text is None or not text.strip():
        return ()
    how = 'Write an object for named arguments, {"classes": 10}, or an array for positional ones, [10].'
    if len(text) > MAX_ARGUMENTS_CHARACTERS:
        raise ParameterInvalid(
            f"model_args has {len(text):,} characters; the limit is {MAX_ARGUMENTS_CHARACTERS:,}.", field="model_args"
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ParameterInvalid(f"model_args={_shortened(text)} is not JSON: {e}. {how}", field="model_args") from e
    if isinstance(found, list):
        return tuple(found)
    if isinstance(found, dict):
        return found
    raise ParameterInvalid(
        f"model_args={_shortened(text)} is neither an object nor an array. {how}", field="model_args"
    )


def _input(entry: str, text: str) -> Input:
    match = _INPUT.fullmatch(entry)
    if match is None or not match["sizes"]:
        raise _invalid(f"input_size={text!r}: {entry!r} is not an input. {_HOW}")
    written, below = match["type"], match["below"]
    if written is not None and written not in TYPES:
        raise _invalid(f"input_size={text!r}: {written!r} is no type. It is one of {', '.join(TYPES)}.")
    dtype = "int64" if written is None and below is not None else TYPES.get(written or "")
    if below is not None and (dtype not in _COUNTING or int(below) < 1):
        raise _invalid(f"input_size={text!r}: a limit such as <100 is for whole numbers, and at least 1.")
    return Input(
        shape=_shape(match["sizes"], text), dtype=dtype, below=None if below is None else int(below), name=match["name"]
    )


def _shape(written: str, text: str) -> tuple[int, ...]:
    if written in ("()", "[]"):
        return ()
    try:
        shape = tuple(int(size) for size in written.strip("()[]").replace("x", ",").rstrip(",").split(","))
    except ValueError as e:
        raise _invalid(f"input_size={text!r} is not a list of whole numbers. {_HOW}") from e
    if any(size < 1 for size in shape):
        raise _invalid(f"input_size={text!r} has a size below 1.")
    return shape


#: How to write one; the documents' own example first.
_HOW = (
    "For a 28x28 grey image write 1,28,28; for several inputs 3,224,224;10; for whole numbers below 30522 "
    "128:int64<30522; by keyword mask=128:int64."
)


def _invalid(message: str) -> InputSizeInvalid:
    return InputSizeInvalid(message, field="input_size")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
