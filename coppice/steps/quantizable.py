"""What is looked at before a model is quantized: whether it is quantized already, and whether the samples suffice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.moments import Region, region
from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.errors import AlreadyQuantized, DatasetInvalid, NothingToQuantize, WeightsNotFinite
from coppice.quant import GRIDS
from coppice.records.quantization import Precision
from coppice.records.request import Request
from coppice.records.samples_needed import check_samples, need_of
from coppice.steps.restore import Basis
from coppice.tracing import stored

#: Fewer weights than these in a whole model tell nothing: those of a toy are round numbers.
TELLING = 1_000
#: Fewer weights than these of one output lie on some grid by chance.
FEWEST = 8
#: How far from a grid's numbers weights may lie, in units of its scale.
NEAR = 1e-3
#: Types of numbers that a model in floats stores no weights in.
EIGHT_BITS = frozenset({torch.int8, torch.uint8})


def check_calibration(request: Request, basis: Basis | None, notes: Sequence[str]) -> None:
    """Raise SamplesMissing where what was asked for needs samples, DatasetInvalid where they tell nothing.

    The notes of reading say why samples that came are not used.
    """
    check_samples(request, basis is not None, notes)
    if basis is not None and need_of(request):
        _check_telling(basis)


def _check_telling(basis: Basis) -> None:
    rows = [entry for entry in basis.fitted.inputs if entry.dim() and len(entry) > 1]
    if rows and all(bool((entry == entry[:1]).all()) for entry in rows):
        raise DatasetInvalid(
            f"All {len(basis.fitted)} samples to calibrate on are the same, so they don't tell what flows through the "
            "model. Send different ones, as the model will meet them.",
            field="dataset",
        )
    if not basis.judge.finite:
        raise DatasetInvalid(
            "The model gives no finite numbers for the samples (NaN or infinity), so there is nothing to calibrate "
            "on. Send samples as the model was trained on: same range, same preprocessing.",
            field="dataset",
        )


def check_floats(module: nn.Module, sample: Sequence[Tensor], precision: Precision) -> None:
    """Raise BadUpload where the model is quantized already or has no numbers, Refused where nothing multiplies.

    Where its weights become floats of fewer bits, it may lie on a grid, and may have no weights that multiply.
    """
    tensors = stored(module).values()
    narrow = sum(one.numel() for one in tensors if one.is_quantized or (one.dtype in EIGHT_BITS and one.dim() > 1))
    broad = sum(one.numel() for one in tensors if one.is_floating_point() and one.dim() > 1)
    if narrow > max(broad, TELLING):
        raise AlreadyQuantized(
            f"The model is quantized already: {narrow:,} of its weights are stored in eight bits or fewer. Send it in "
            "floats, as it was before.",
            field="model",
        )
    watch = _Grids(module)
    watch.over(sample)
    if watch.endless is not None:
        raise WeightsNotFinite(
            f"{watch.endless} holds numbers that are not finite (NaN or infinity), and no scale fits these. Look where "
            "its training went wrong, or send an earlier state.",
            field="model",
        )
    if not precision.whole:
        return
    if not watch.regular:
        raise NothingToQuantize(
            "No layer of the model multiplies with stored weights, so there is nothing to quantize. Weights that are "
            "computed at every run (weight norm, dequantized integers) can't be: store them as they come out.",
            field="model",
        )
    if all(watch.regular.values()) and watch.weights >= TELLING:
        raise AlreadyQuantized(
            "The model is quantized already: the weights of every layer are multiples of a scale of eight bits or "
            "fewer. Send it in floats, as it was before.",
            field="model",
        )


class _Grids(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Finds the weights that lie on some grid of at most eight bits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.regular: dict[Region, bool] = {}
        self.weights = 0
        #: A weight with numbers that are none.
        self.endless: str | None = None

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its weight, until one is found that lies on none."""
        shown = region(product.tensor, product.weight)
        if shown not in self.regular:
            known = all(self.regular.values())
            if not product.weight.isfinite().all():
                self.endless = self.endless or product.tensor
            self.regular[shown] = known and on_a_grid(product.matrix(product.weight).float())
            self.weights += product.weight.numel()
        return func(*args, **kwargs)


def on_a_grid(matrix: Tensor) -> bool:
    """Whether every output's weights, of shape (groups, features, outputs), are whole multiples of some scale."""
    outputs = matrix.transpose(1, 2).flatten(0, 1)
    outputs = outputs[(outputs != 0).sum(1) >= FEWEST]
    if not len(outputs):
        return False
    parts = outputs / outputs.abs().amax(1, keepdim=True)
    left = parts
    for largest in range(1, GRIDS[8].largest + 1):
        steps = left * largest
        left = left[((steps - steps.round()).abs() > NEAR).any(1)]
        if not len(left):
            return True
    return False
