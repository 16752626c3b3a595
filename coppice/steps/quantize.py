"""quantize: the weights of a model on grids of few bits, each layer by itself, so that its outputs change least.

What precision a layer gets is in `precisions`, what makes a model or samples unfit in `quantizable`, and the search for
the smallest model within a loss in `raising`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from coppice.quant import QuantizedModel
from coppice.records.report import LayerPrecision, Raised
from coppice.records.request import Request, Task
from coppice.steps.account import Names
from coppice.steps.precisions import choices
from coppice.steps.quantizable import check_calibration, check_floats
from coppice.steps.raising import Found, search
from coppice.steps.restore import Basis
from coppice.steps.workpiece import workpiece
from coppice.tracing import Network, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A quantized model, and how its layers are kept."""

    model: QuantizedModel
    layers: tuple[LayerPrecision, ...]
    trials: tuple[Raised, ...] = ()
    #: How far a search with `max_drop` raised layers; asked again with `beyond` this, it goes on from there.
    raised: int = 0


def quantize(network: Network, module: nn.Module, request: Request, basis: Basis | None, *, beyond: int = 0) -> Outcome:
    """Round the weights of `module`, which is the network's or a cut of it; it is left as it is.

    With `max_drop` of a quantization, the smallest model within it; of those that are larger than that of an outcome
    which proved to lose too much in its own runtime, if `beyond` is what that raised, plus one.

    Raises SamplesMissing, DatasetInvalid, BadUpload, Refused, UnknownLayer, ParameterInvalid, PrecisionImpossible,
    TargetUnreachable, ForwardFailed.
    """
    wanted = request.quantization
    if wanted is None:
        raise ValueError("nothing was asked")
    check_floats(module, network.sample, wanted.numbers.weights)
    check_calibration(request, basis, network.notes)
    piece, names, tensors = workpiece(network, module, request, wanted, basis), Names(network), stored(module)
    chosen = choices(request, wanted, names, piece.material)
    if request.max_drop is not None and request.task is Task.QUANTIZE:
        found = search(piece, request, chosen, beyond)
    else:
        found = Found(chosen=chosen, model=piece.made(chosen))
    layers = tuple(
        LayerPrecision(
            name=names.layer_of(name),
            tensor=name,
            parameters=tensors[name].numel(),
            precision=choice.precision,
            rounding=choice.rounding,
            reason=choice.reason,
        )
        for name, choice in found.chosen.items()
    )
    return Outcome(model=found.model, layers=layers, trials=found.trials, raised=found.raised)
