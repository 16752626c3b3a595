"""Products in normal form: inputs times matrix must be what the call itself gave, whatever kind of call it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.tracing.composites import decomposed


class Recomputed(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Computes every product a second time, from its normal form."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        result = func(*args, **kwargs)
        picks = torch.arange(0, product.rows(result), 3)
        computed = product.inputs(result, picks) @ product.matrix(product.weight)
        if product.bias is not None:
            computed += product.bias.reshape(computed.shape[0], 1, -1)
        self.seen[product.tensor] = (computed, product.outputs(result, picks))
        product.assign(2 * product.matrix(product.weight))
        return result


class Bare(nn.Module):
    """A module around one function of a parameter `w` and the input."""

    def __init__(self, shape: tuple[int, ...], function: Any) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(shape))
        self._function = function

    def forward(self, x: Tensor) -> Any:
        return self._function(x, self.w)


class Attention(nn.Module):
    """Self-attention by torch's own module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x, need_weights=False)[0]


IMAGE, SEQUENCE = (2, 4, 11, 10), (2, 5, 6)
CALLS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), IMAGE),
    "convolution of one axis": (nn.Conv1d(5, 4, 3, padding=2), SEQUENCE),
    "convolution of three axes": (nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 2, 4, 5, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), IMAGE),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGE),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "transposed, grouped, dilated": (nn.ConvTranspose2d(4, 6, 3, stride=3, groups=2, dilation=2), IMAGE),
    "kernel in Keras' layout": (Bare((3, 3, 4, 6), lambda x, w: F.conv2d(x, w.permute(3, 2, 0, 1))), IMAGE),
    "linear": (nn.Linear(6, 3), SEQUENCE),
    "linear of two axes": (nn.Linear(6, 3), (5, 6)),
    "weight on the left": (Bare((3, 4), lambda x, w: torch.matmul(w, x)), (4, 7)),
    "einsum into heads": (Bare((6, 2, 3), lambda x, w: torch.einsum("nld,dhk->nlhk", x, w)), SEQUENCE),
    "a weight for each": (Bare((5, 6, 3), lambda x, w: torch.einsum("nld,ldk->nlk", x, w)), SEQUENCE),
    "attention": (Attention(), SEQUENCE),
}


@pytest.mark.parametrize("name", CALLS)
def test_inputs_times_matrix_is_what_the_call_gave(name: str) -> None:
    module, shape = CALLS[name]
    before = {name: one.detach().clone() for name, one in module.named_parameters()}
    with torch.no_grad(), decomposed(), Recomputed(module) as seen:
        module(torch.randn(shape))
    assert seen.seen
    for tensor, (computed, given) in seen.seen.items():
        torch.testing.assert_close(computed, given, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(dict(module.named_parameters())[tensor].detach(), 2 * before[tensor])


def test_a_computed_weight_is_no_product() -> None:
    module = Bare((3, 6), lambda x, w: F.linear(x, w.tanh()))
    with torch.no_grad(), Recomputed(module) as seen:
        module(torch.randn(5, 6))
    assert not seen.seen
