"""Numbers of sixteen bits: tensors rounded to what such a type can hold, still stored in float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from coppice.errors import PrecisionImpossible
from coppice.records.quantization import Precision
from coppice.tracing import stored

#: Precision -> torch's type.
TYPES: Mapping[Precision, torch.dtype] = {Precision.FLOAT16: torch.float16, Precision.BFLOAT16: torch.bfloat16}


def halved(module: nn.Module, names: Iterable[str], precision: Precision) -> dict[str, Precision]:
    """Round tensors of `module` in place; gives what each now is. Raises PrecisionImpossible where one is too large."""
    tensors, found = stored(module), {}
    for name in names:
        tensor = tensors[name].detach()
        rounded = tensor.to(TYPES[precision])
        if bool((rounded.isinf() & ~tensor.isinf()).any()):
            largest, end = tensor.abs().max().item(), torch.finfo(TYPES[precision]).max
            raise PrecisionImpossible(
                f"{name} holds {largest:.4g}, and {precision} ends at {end:.5g}. Ask for more bits, or for bfloat16.",
                field="precision",
            )
        tensor.copy_(rounded.to(tensor.dtype))
        found[name] = precision
    return found
