"""What a user may ask of the precision of a model, and what each kind of file can hold: one table, read by every front.

A *combination* is a set of precisions of weights, biases and activations that one writer can write; what lies in none
of them is refused with the nearest that does. What the precisions mean:

- weights, of every layer that multiplies: `int8` to `int1` are whole numbers times a scale for each output channel;
- biases: `int32` are whole numbers in units of (scale of the input x scale of the weight), as integer kernels add them;
- activations: `int8` and `uint8` have scales that were calibrated on samples; `dynamic` finds them at every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from coppice.errors import ParameterMissing, PrecisionImpossible
from coppice.records.frameworks import Framework


class Precision(StrEnum):
    """How a number is kept."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT32 = "int32"
    INT8 = "int8"
    INT4 = "int4"
    INT2 = "int2"
    INT1 = "int1"

    @property
    def bits(self) -> int:
        """How many bits a number takes."""
        return int(self.value.lstrip("bfloatin"))

    @property
    def whole(self) -> bool:
        """Whether it is whole numbers times a scale."""
        return self.value.startswith("int")


class Activations(StrEnum):
    """How the numbers that flow through a model are kept."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    DYNAMIC = "dynamic"  # eight bits, with scales that are found at every run

    @property
    def calibrated(self) -> bool:
        """Whether their scales come from samples."""
        return self in (Activations.INT8, Activations.UINT8)


class Format(StrEnum):
    """The kinds of file that a quantized model is written as."""

    ONNX = "onnx"
    TFLITE = "tflite"
    SAFETENSORS = "safetensors"


class Rounding(StrEnum):
    """How weights become whole numbers."""

    AUTO = "auto"  # gptq where there are samples, nearest where there are none
    NEAREST = "nearest"  # to the nearest, the largest of a channel being the largest number that there is
    CLIPPED = "clipped"  # to the nearest, by the scale with the smallest squared error
    GPTQ = "gptq"  # one input after the other, later ones making up for what earlier ones lost
    ADAROUND = "adaround"  # up or down, as a gradient descent on the layer's outputs finds best


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The precisions of one model."""

    weights: Precision
    biases: Precision
    activations: Activations


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Precisions that go together in one kind of file, and what a runtime makes of them."""

    weights: tuple[Precision, ...]
    biases: tuple[Precision, ...]
    activations: tuple[Activations, ...]

    def nearest(self, numbers: Numbers) -> Numbers:
        """The same as far as this combination has it, else as many bits or more, else its first."""
        return Numbers(
            weights=_nearest(numbers.weights, self.weights),
            biases=_nearest(numbers.biases, self.biases),
            activations=numbers.activations if numbers.activations in self.activations else self.activations[0],
        )


_STORED = (Precision.INT8, Precision.INT4, Precision.INT2, Precision.INT1)
_KEPT_BIASES = (Precision.FLOAT32, Precision.FLOAT16, Precision.INT8, Precision.INT4)

_FLOAT16 = Combination(weights=(Precision.FLOAT16,), biases=(Precision.FLOAT16,), activations=(Activations.FLOAT16,))
#: Weights are kept small and computed with as floats.
_PACKED = Combination(weights=(*_STORED, Precision.FLOAT16), biases=_KEPT_BIASES, activations=(Activations.FLOAT32,))

_ONNX = (
    _PACKED,
    _FLOAT16,
    Combination(
        weights=_STORED,
        biases=(Precision.INT32, Precision.FLOAT32),
        activations=(Activations.UINT8, Activations.INT8),
    ),
)

#: (framework of the call, kind of file) -> what can be written, the first being what is nearest of all.
CAPABILITIES: Mapping[tuple[Framework, Format], tuple[Combination, ...]] = {
    (Framework.PYTORCH, Format.ONNX): _ONNX,
    (Framework.KERAS, Format.ONNX): _ONNX,
    (Framework.ONNX, Format.ONNX): _ONNX,
    (Framework.PYTORCH, Format.SAFETENSORS): (
        _PACKED,
        _FLOAT16,
        Combination(weights=(Precision.BFLOAT16,), biases=(Precision.BFLOAT16,), activations=(Activations.BFLOAT16,)),
    ),
    (Framework.KERAS, Format.SAFETENSORS): (
        Combination(
            weights=(*_STORED, Precision.FLOAT16, Precision.BFLOAT16),
            biases=(*_KEPT_BIASES, Precision.BFLOAT16),
            activations=(Activations.FLOAT32,),
        ),
    ),
    (Framework.KERAS, Format.TFLITE): (
        Combination(
            weights=(Precision.INT8, Precision.INT4),
            biases=(Precision.FLOAT32,),
            activations=(Activations.DYNAMIC,),
        ),
        Combination(
            weights=(Precision.INT8, Precision.INT4), biases=(Precision.INT32,), activations=(Activations.INT8,)
        ),
        Combination(weights=(Precision.FLOAT16,), biases=(Precision.FLOAT16,), activations=(Activations.FLOAT32,)),
    ),
}

#: Framework -> kind of file where none is asked for, by the precision of the weights.
_FORMATS: Mapping[Framework, Mapping[Precision, Format]] = {
    Framework.PYTORCH: {Precision.BFLOAT16: Format.SAFETENSORS},
    Framework.KERAS: {
        Precision.FLOAT16: Format.TFLITE,
        Precision.INT8: Format.TFLITE,
        Precision.INT4: Format.TFLITE,
        Precision.BFLOAT16: Format.SAFETENSORS,
        Precision.INT2: Format.SAFETENSORS,
        Precision.INT1: Format.SAFETENSORS,
    },
    Framework.ONNX: {},
}

#: (kind of file, precision of the weights) -> what `precision` means for biases and activations there.
_MEANS: Mapping[tuple[Format, Precision], tuple[Precision, Activations]] = {
    (Format.ONNX, Precision.FLOAT16): (Precision.FLOAT16, Activations.FLOAT16),
    (Format.ONNX, Precision.INT8): (Precision.INT32, Activations.UINT8),
    (Format.SAFETENSORS, Precision.FLOAT16): (Precision.FLOAT16, Activations.FLOAT16),
    (Format.SAFETENSORS, Precision.BFLOAT16): (Precision.BFLOAT16, Activations.BFLOAT16),
    (Format.TFLITE, Precision.FLOAT16): (Precision.FLOAT16, Activations.FLOAT32),
    (Format.TFLITE, Precision.INT8): (Precision.INT32, Activations.INT8),
    (Format.TFLITE, Precision.INT4): (Precision.FLOAT32, Activations.DYNAMIC),
}

#: What a model computes in there, in whatever its weights are kept: the loader gives Keras floats.
_COMPUTES_IN: Mapping[tuple[Framework, Format], Activations] = {
    (Framework.KERAS, Format.SAFETENSORS): Activations.FLOAT32
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was said of precision; what is None was not said."""

    precision: Precision | None
    weights: Precision | None
    biases: Precision | None
    activations: Activations | None
    output_format: Format | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was meant: a kind of file, and the precisions in it."""

    output_format: Format
    numbers: Numbers


def wanted(framework: Framework, asked: Asked) -> Wanted:
    """What `asked` means for a model of a framework; raises PrecisionImpossible with the nearest that can be had."""
    weights = asked.weights or asked.precision
    if weights is None:
        raise ParameterMissing(
            "precision is missing. Give that of the weights, e.g. precision=int8; or weights, biases and activations "
            "one by one.",
            field="precision",
        )
    told = asked.output_format or _FORMATS[framework].get(weights, Format.ONNX)
    numbers = _meant(framework, asked, weights, told)
    possible = CAPABILITIES.get((framework, told))
    if possible is None:
        there = [str(one) for owner, one in CAPABILITIES if owner is framework]
        raise PrecisionImpossible(
            f"format={told} is not written for a {framework} model. Nearest: format={there[0]}"
            f"{''.join(f', {one}' for one in there[1:])}.",
            field="format",
        )
    if not any(_within(numbers, one) for one in possible):
        nearest = _closest(numbers, possible)
        raise PrecisionImpossible(
            f"format={told} can't hold {_written(numbers)} together. Nearest: {_written(nearest)}."
            f"{_elsewhere(framework, asked, weights, told)}",
            field=next(_changes(numbers, nearest)),
        )
    return Wanted(output_format=told, numbers=numbers)


def _meant(framework: Framework, asked: Asked, weights: Precision, told: Format) -> Numbers:
    """What was asked, in one kind of file, where what was not said is as it is usual there."""
    biases, activations = _MEANS.get((told, weights), (Precision.FLOAT32, Activations.FLOAT32))
    activations = _COMPUTES_IN.get((framework, told), activations)
    numbers = Numbers(weights=weights, biases=asked.biases or biases, activations=asked.activations or activations)
    if asked.biases is None and asked.activations is not None:
        # Whole biases go with whole activations, and the other way round.
        numbers = replace(numbers, biases=Precision.INT32 if asked.activations.calibrated else _unscaled(biases))
    return numbers


def _elsewhere(framework: Framework, asked: Asked, weights: Precision, told: Format) -> str:
    """The first other kind of file that holds what was asked, said as an advice."""
    others = [
        str(one)
        for (owner, one), combinations in CAPABILITIES.items()
        if owner is framework and one is not told
        if any(_within(_meant(framework, asked, weights, one), each) for each in combinations)
    ]
    return f" Or as asked, but format={others[0]}." if others else ""


def _nearest(wanted: Precision, there: Sequence[Precision]) -> Precision:
    more = [one for one in there if one.bits >= wanted.bits]
    return wanted if wanted in there else min(more, key=lambda one: one.bits, default=there[0])


def _unscaled(biases: Precision) -> Precision:
    return Precision.FLOAT32 if biases is Precision.INT32 else biases


def _within(numbers: Numbers, combination: Combination) -> bool:
    return combination.nearest(numbers) == numbers


def _changes(numbers: Numbers, other: Numbers) -> Iterator[str]:
    for entry in fields(numbers):
        if getattr(numbers, entry.name) != getattr(other, entry.name):
            yield entry.name


def _closest(numbers: Numbers, possible: Sequence[Combination]) -> Numbers:
    found = [one.nearest(numbers) for one in possible]
    # What the weights are to be is what was asked for, then what is computed in; of biases there are few.
    return min(
        found,
        key=lambda other: (
            other.weights != numbers.weights,
            abs(other.weights.bits - numbers.weights.bits),
            len(list(_changes(numbers, other))),
            other.activations != numbers.activations,
        ),
    )


def _written(numbers: Numbers) -> str:
    return ", ".join(f"{entry.name}={getattr(numbers, entry.name)}" for entry in fields(numbers))
