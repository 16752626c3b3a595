"""A model in floats, and all that its quantization needs to know of it, in whatever precisions its layers end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from coppice.calibration.coverage import Coverage, covered
from coppice.calibration.rounding import rounded
from coppice.calibration.survey import Survey, survey
from coppice.calibration.targets import Noted, note
from coppice.errors import ForwardFailed
from coppice.quant import QuantizedModel
from coppice.records.plan import Plan
from coppice.records.quantization import Precision, Wanted
from coppice.records.request import Request
from coppice.steps.apply import copied
from coppice.steps.biases import coded_biases
from coppice.steps.halves import TYPES, halved
from coppice.steps.precisions import Choice, Material
from coppice.steps.restore import Basis
from coppice.tracing import Network, stored
from coppice.tracing.samples import Samples

WITHOUT = "The weights were rounded without samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workpiece:
    """What is there before anything is rounded."""

    network: Network
    module: nn.Module
    wanted: Wanted
    survey: Survey
    coverage: Coverage
    basis: Basis | None
    samples: Samples | None  # that are calibrated on
    noted: Noted  # what it gives on them; empty where there are none
    notes: tuple[str, ...]

    @property
    def material(self) -> Material:
        """What precisions are chosen by."""
        return Material(survey=self.survey, coverage=self.coverage, calibrated=self.samples is not None)

    def on(self, samples: Samples) -> Workpiece:
        """The same, calibrated on other samples; raises ForwardFailed."""
        noted = note(self.module, Plan(kept={}), self.survey, samples.inputs, len(samples))
        return replace(self, samples=samples, noted=noted)

    def made(self, chosen: Mapping[str, Choice]) -> QuantizedModel:
        """Quantized as chosen; raises ForwardFailed, PrecisionImpossible."""
        model, numbers = copied(self.module), self.wanted.numbers
        orders = {name: choice.order for name, choice in chosen.items() if choice.order is not None}
        inputs = self.network.sample if self.samples is None else self.samples.inputs
        coded = rounded(model, inputs, orders, self.noted, self.survey)
        floats: dict[str, Precision] = {}
        for precision in TYPES:
            floats |= halved(model, [name for name, one in chosen.items() if one.precision is precision], precision)
        biases = self.biases()
        if numbers.activations.value in TYPES:
            others = [
                name for name, tensor in stored(model).items() if tensor.is_floating_point() and name not in coded
            ]
            floats |= halved(model, others, Precision(numbers.activations.value))
        elif numbers.biases in TYPES:
            floats |= halved(model, biases, numbers.biases)
        elif numbers.biases in (Precision.INT8, Precision.INT4):
            coded |= coded_biases(model, biases, numbers.biases)
        return QuantizedModel(module=model, coded=coded, floats=floats, left=_left(chosen), notes=self.notes)

    def biases(self) -> tuple[str, ...]:
        """Stored vectors that are added to what products give."""
        added = (seen.bias for seen in self.survey.seen.values() if seen.bias is not None)
        return tuple(dict.fromkeys((*self.coverage.biases, *added)))


def workpiece(network: Network, module: nn.Module, request: Request, wanted: Wanted, basis: Basis | None) -> Workpiece:
    """Look at a module, which is the network's or a cut of it, and note what it gives; raises ForwardFailed."""
    piece = Workpiece(
        network=network,
        module=module,
        wanted=wanted,
        survey=survey(module, network.sample),
        coverage=covered(module, network.sample),
        basis=basis,
        samples=None,
        noted=Noted(),
        notes=(),
    )
    if basis is None or not any(one.whole for one in (wanted.numbers.weights, *request.layers.values())):
        return piece
    if basis.survey is None:
        return replace(piece, notes=(f"{WITHOUT}: too few of them fit into memory at once.",))
    try:
        return piece.on(basis.fitted)
    except (ForwardFailed, MemoryError) as e:
        return replace(piece, notes=(f"{WITHOUT}: the model does not run on many of them at once: {e}",))


def _left(chosen: Mapping[str, Choice]) -> dict[str, str]:
    """Weights whose numbers stay floats, and why."""
    return {
        name: choice.reason or f"kept as {choice.precision}, as was asked"
        for name, choice in chosen.items()
        if not choice.precision.whole
    }
