"""Which precision each weight of a model gets, and how it is rounded: what was asked, and where that can't be or isn't
wise, what instead and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from coppice.calibration.coverage import Coverage
from coppice.calibration.rounding import Order
from coppice.calibration.survey import Survey
from coppice.errors import ParameterInvalid, PrecisionImpossible
from coppice.records.quantization import CAPABILITIES, Activations, Precision, Rounding, Wanted
from coppice.records.request import Request
from coppice.records.samples_needed import CALIBRATED, ENOUGH_BITS
from coppice.steps.account import Names

#: The precision of the first and the last layer where fewer bits are asked for, and of weights that can't be calibrated
#: where so few are asked for that it takes calibration.
EDGES = Precision.INT8


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Of one weight."""

    precision: Precision
    rounding: Rounding | None = None  # where the precision is whole numbers
    reason: str | None = None  # why it is another precision than was asked
    named: bool = False  # whether the request says it of this layer

    @property
    def order(self) -> Order | None:
        """What rounds it; None where its numbers stay floats."""
        return None if self.rounding is None else Order(bits=self.precision.bits, rounding=self.rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What there is to choose for."""

    survey: Survey
    coverage: Coverage
    calibrated: bool  # whether there are samples to calibrate on


def choices(request: Request, wanted: Wanted, names: Names, material: Material) -> dict[str, Choice]:
    """Weight -> choice, in the order of the pass; raises UnknownLayer, ParameterInvalid, PrecisionImpossible."""
    seen = material.survey.seen
    named = _named(request, wanted, names, seen)
    made = {name: Choice(precision=named.get(name, wanted.numbers.weights), named=name in named) for name in seen}
    for change in (_torn, _edges, _uncalibrated):
        made = {name: change(name, choice, request, material) for name, choice in made.items()}
    return {name: rounding_of(name, choice, request, wanted, material) for name, choice in made.items()}


def possible(request: Request, wanted: Wanted) -> tuple[Precision, ...]:
    """The precisions that a weight may have in a file of the kind that is wanted, fewest bits first."""
    numbers = wanted.numbers
    found = {
        precision
        for one in CAPABILITIES[request.framework, wanted.output_format]
        if numbers.biases in one.biases and numbers.activations in one.activations
        for precision in one.weights
    }
    return tuple(sorted(found | {Precision.FLOAT32}, key=lambda one: one.bits))


def rounding_of(name: str, choice: Choice, request: Request, wanted: Wanted, material: Material) -> Choice:
    """With the rounding that its precision and the samples allow."""
    if not choice.precision.whole:
        return replace(choice, rounding=None)
    asked, bits = request.rounding, choice.precision.bits
    free = material.calibrated and material.survey.hindrance(name) is None
    if asked is Rounding.AUTO:
        # Eight bits of weights lose less than eight bits of activations do.
        fine = bits == EDGES.bits and wanted.numbers.activations is not Activations.FLOAT32
        return replace(choice, rounding=Rounding.GPTQ if free and not fine else _alone(bits))
    return replace(choice, rounding=_alone(bits) if asked in CALIBRATED and not free else asked)


def _alone(bits: int) -> Rounding:
    """Without samples: clipping shrinks what a layer gives, but of few bits the largest number is no measure at all."""
    return Rounding.NEAREST if bits >= ENOUGH_BITS else Rounding.CLIPPED


def _named(request: Request, wanted: Wanted, names: Names, seen: Mapping[str, object]) -> dict[str, Precision]:
    found: dict[str, Precision] = {}
    allowed = possible(request, wanted)
    for pattern, precision in request.layers.items():
        tensors = names.tensors([pattern], field="layers")
        weights = [name for name in seen if name in tensors]
        if not weights:
            raise ParameterInvalid(
                f"layers: {pattern} multiplies with no stored weight, so it has no precision of its own. Those that do "
                f"are {', '.join(dict.fromkeys(names.layer_of(name) for name in seen))}.",
                field="layers",
            )
        if precision not in allowed:
            raise PrecisionImpossible(
                f"layers: {pattern}={precision} can't be kept in format={wanted.output_format} with "
                f"biases={wanted.numbers.biases}, activations={wanted.numbers.activations}. Possible there: "
                f"{', '.join(allowed)}.",
                field="layers",
            )
        found |= dict.fromkeys(weights, precision)
    return found


_Change = Callable[[str, Choice, Request, Material], Choice]


def _torn(name: str, choice: Choice, _: Request, material: Material) -> Choice:
    why = material.coverage.torn.get(name) if choice.precision.whole else None
    return choice if why is None else replace(choice, precision=Precision.FLOAT32, reason=why)


def _edges(name: str, choice: Choice, _: Request, material: Material) -> Choice:
    place = dict(_ends(tuple(material.survey.seen))).get(name)
    if place is None or choice.named or not _below(choice.precision, EDGES.bits):
        return choice
    return replace(choice, precision=EDGES, reason=f"the {place} layer, where few bits cost most")


def _uncalibrated(name: str, choice: Choice, request: Request, material: Material) -> Choice:
    why = material.survey.hindrance(name)
    spared = choice.named or request.rounding in (Rounding.NEAREST, Rounding.CLIPPED) or not material.calibrated
    if spared or why is None or not _below(choice.precision, ENOUGH_BITS):
        return choice
    return replace(choice, precision=EDGES, reason=f"so few bits need calibration, and it is {why}")


def _ends(weights: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if weights:
        yield weights[-1], "last"
        yield weights[0], "first"


def _below(precision: Precision, bits: int) -> bool:
    return precision.whole and precision.bits < bits
