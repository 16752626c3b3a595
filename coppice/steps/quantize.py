"""quantize: the weights of a model on grids of few bits, each layer by itself, so that its outputs change least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from coppice.calibration.rounding import rounded
from coppice.calibration.survey import survey
from coppice.quant import QuantizedModel
from coppice.records.quantization import Precision, Rounding
from coppice.records.report import LayerPrecision, Raised
from coppice.records.request import Request
from coppice.steps.account import Names
from coppice.steps.apply import copied
from coppice.steps.restore import Basis
from coppice.tracing import Network, stored

#: The precision of the first and the last layer where fewer bits are asked for.
EDGES = Precision.INT8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A quantized model, and how its layers are kept."""

    model: QuantizedModel
    layers: tuple[LayerPrecision, ...]
    trials: tuple[Raised, ...] = ()


def quantize(network: Network, module: nn.Module, request: Request, basis: Basis | None) -> Outcome:
    """Round the weights of `module`, which is the network's or a cut of it; it is left as it is.

    Raises SamplesMissing, UnknownLayer, TargetUnreachable, ForwardFailed.
    """
    del basis
    wanted = request.quantization
    if wanted is None:
        raise ValueError("nothing was asked")
    names, tensors = Names(network), stored(module)
    made = survey(module, network.sample).seen
    precisions = dict.fromkeys(made, wanted.numbers.weights)
    model = copied(module)
    bits = {name: precision.bits for name, precision in precisions.items() if precision.whole}
    coded = rounded(model, network.sample, bits)
    layers = tuple(
        LayerPrecision(
            name=names.layer_of(name),
            tensor=name,
            parameters=tensors[name].numel(),
            precision=precisions[name],
            rounding=Rounding.NEAREST if name in coded else None,
        )
        for name in made
    )
    return Outcome(model=QuantizedModel(module=model, coded=coded, left=_left(precisions)), layers=layers)


def _left(precisions: Mapping[str, Precision]) -> dict[str, str]:
    return {name: f"kept as {one}" for name, one in precisions.items() if not one.whole}
