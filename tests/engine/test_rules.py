"""One case per kind of operation: which channels go at one half, which stay, and why.

The widths are worked out by hand from what the operation does; the oracle then checks the same cut by value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice import rules
from coppice.records.report import Check
from coppice.tracing import trace
from tests.engine.models import cut, network

Forward = Callable[[nn.ModuleDict, Tensor], Tensor]


class Parts(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, layers: dict[str, nn.Module], forward: Forward) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.layers, x)


@dataclass(frozen=True)
class Case:
    layers: Callable[[], dict[str, nn.Module]]
    forward: Forward
    widths: dict[str, int]  # layer -> size of axis 0 of its weight after a cut of one half
    reason: str = ""  # part of the reason why something stays
    shape: tuple[int, ...] = field(default=(3, 8, 8))
    check: Check = Check.EXACT


def conv(into: int, out: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **options)  # type: ignore[arg-type]


def pair(middle: int = 8, into: int | None = None) -> Callable[[], dict[str, nn.Module]]:
    return lambda: {"a": conv(3, middle), "b": conv(into or middle, 4)}


CASES: dict[str, Case] = {
    "two convolutions": Case(pair(), lambda m, x: m["b"](m["a"](x).relu()), {"a": 4, "b": 4}, "output of the model"),
    "linear layers over the last axis": Case(
        lambda: {"a": nn.Linear(8, 6), "b": nn.Linear(6, 5)},
        lambda m, x: m["b"](m["a"](x)),
        {"a": 3, "b": 5},
    ),
    "batch norm follows its convolution": Case(
        lambda: {"a": conv(3, 8), "n": nn.BatchNorm2d(8), "b": conv(8, 4)},
        lambda m, x: m["b"](m["n"](m["a"](x))),
        {"a": 4, "n": 4, "b": 4},
    ),
    "a residual sum ties both branches": Case(
        lambda: {"a": conv(3, 8), "s": conv(3, 8, 1), "b": conv(8, 4)},
        lambda m, x: m["b"](m["a"](x) + m["s"](x)),
        {"a": 4, "s": 4, "b": 4},
    ),
    "a residual sum with the input keeps the branch": Case(
        lambda: {"a": conv(3, 6), "b": conv(6, 3), "c": conv(3, 4)},
        lambda m, x: m["c"](m["b"](m["a"](x)) + x),
        {"a": 3, "b": 3, "c": 4},
        "combined with a fixed position in aten::add",
    ),
    "concatenation keeps the order of its branches": Case(
        lambda: {"a": conv(3, 8), "s": conv(3, 6), "b": conv(14, 4)},
        lambda m, x: m["b"](torch.cat([m["a"](x), m["s"](x).tanh()], 1)),
        {"a": 4, "s": 3, "b": 4},
    ),
    "the same tensor concatenated twice": Case(
        pair(8, 16), lambda m, x: m["b"](torch.cat([y := m["a"](x), y], 1)), {"a": 4, "b": 4}
    ),
    "flatten between convolution and linear": Case(
        lambda: {"a": conv(3, 8), "b": nn.Linear(512, 4)},
        lambda m, x: m["b"](m["a"](x).flatten(1)),
        {"a": 4, "b": 4},
    ),
    "channels-last flatten": Case(
        lambda: {"a": conv(3, 8), "b": nn.Linear(512, 4)},
        lambda m, x: m["b"](m["a"](x).permute(0, 2, 3, 1).flatten(1)),
        {"a": 4, "b": 4},
    ),
    "grouped convolution stays rectangular": Case(
        lambda: {"a": conv(3, 8), "g": conv(8, 16, groups=4), "b": conv(16, 4)},
        lambda m, x: m["b"](m["g"](m["a"](x))),
        {"a": 4, "g": 8, "b": 4},
    ),
    "depthwise convolution loses whole groups": Case(
        lambda: {"a": conv(3, 8), "d": conv(8, 16, groups=8), "b": conv(16, 4)},
        lambda m, x: m["b"](m["d"](m["a"](x))),
        {"a": 4, "d": 8, "b": 4},
    ),
    "transposed convolution": Case(
        lambda: {"a": conv(3, 8), "t": nn.ConvTranspose2d(8, 6, 2, stride=2), "b": conv(6, 4)},
        lambda m, x: m["b"](m["t"](m["a"](x))),
        {"a": 4, "t": 4, "b": 4},
    ),
    "grouped transposed convolution": Case(
        lambda: {"a": conv(3, 8), "t": nn.ConvTranspose2d(8, 8, 2, groups=2), "b": conv(8, 4)},
        lambda m, x: m["b"](m["t"](m["a"](x))),
        {"a": 4, "t": 4, "b": 4},
    ),
    "depthwise transposed convolution": Case(
        lambda: {"a": conv(3, 8), "t": nn.ConvTranspose2d(8, 8, 2, groups=8), "b": conv(8, 4)},
        lambda m, x: m["b"](m["t"](m["a"](x))),
        {"a": 4, "t": 4, "b": 4},
    ),
    "one-dimensional convolution": Case(
        lambda: {"a": nn.Conv1d(3, 8, 3), "b": nn.Conv1d(8, 4, 3)},
        lambda m, x: m["b"](m["a"](x).relu()),
        {"a": 4, "b": 4},
        shape=(3, 16),
    ),
    "three-dimensional convolution": Case(
        lambda: {"a": nn.Conv3d(3, 8, 3), "b": nn.Conv3d(8, 4, 3)},
        lambda m, x: m["b"](F.max_pool3d(m["a"](x), 2)),
        {"a": 4, "b": 4},
        shape=(3, 10, 10, 10),
    ),
    "squeeze and excite": Case(
        lambda: {"a": conv(3, 8), "down": conv(8, 4, 1), "up": conv(4, 8, 1), "b": conv(8, 4)},
        lambda m, x: m["b"]((y := m["a"](x)) * m["up"](m["down"](F.adaptive_avg_pool2d(y, 1)).relu()).sigmoid()),
        {"a": 4, "down": 2, "up": 4, "b": 4},
    ),
    "squeeze and excite over flattened features with expand_as": Case(
        lambda: {"a": conv(3, 8), "down": nn.Linear(8, 4), "up": nn.Linear(4, 8), "b": conv(8, 4)},
        lambda m, x: m["b"](
            (y := m["a"](x)) * m["up"](m["down"](y.mean((2, 3))).relu()).view(2, -1, 1, 1).expand_as(y)
        ),
        {"a": 4, "down": 2, "up": 4, "b": 4},
    ),
    "chunk keeps both halves equal": Case(
        pair(8, 4),
        lambda m, x: m["b"](torch.mul(*m["a"](x).chunk(2, 1))),
        {"a": 4, "b": 4},
    ),
    "channel shuffle by hand": Case(
        lambda: {"a": conv(3, 12), "b": conv(12, 4)},
        lambda m, x: m["b"]((y := m["a"](x)).view(2, 2, y.shape[1] // 2, 8, 8).transpose(1, 2).reshape(y.shape)),
        {"a": 6, "b": 4},
    ),
    "channel shuffle as a layer": Case(
        lambda: {"a": conv(3, 12), "s": nn.ChannelShuffle(3), "b": conv(12, 4)},
        lambda m, x: m["b"](m["s"](m["a"](x))),
        {"a": 6, "b": 4},
    ),
    "pixel shuffle": Case(
        lambda: {"a": conv(3, 32), "b": conv(8, 4)},
        lambda m, x: m["b"](F.pixel_shuffle(m["a"](x), 2)),
        {"a": 16, "b": 4},
    ),
    "pixel unshuffle": Case(
        lambda: {"a": conv(3, 4), "b": conv(16, 4)},
        lambda m, x: m["b"](F.pixel_unshuffle(m["a"](x), 2)),
        {"a": 2, "b": 4},
    ),
    "windows unfolded with padding": Case(
        lambda: {"a": conv(3, 8), "b": nn.Conv1d(72, 4, 1)},
        lambda m, x: m["b"](F.unfold(m["a"](x), 3, padding=1)),
        {"a": 4, "b": 4},
    ),
    "a flip along the channels": Case(pair(), lambda m, x: m["b"](m["a"](x).flip(1)), {"a": 4, "b": 4}),
    "a roll along the channels": Case(
        pair(), lambda m, x: m["b"](m["a"](x).roll(1, 1)), {"a": 8}, "rolled by a number"
    ),
    "a slice with a bound keeps what it takes and loses the rest": Case(
        pair(8, 5), lambda m, x: m["b"](m["a"](x)[:, :5]), {"a": 7}, "counted by a hard-coded 5"
    ),
    "the last channel picked": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x)[:, 7:8]),
        {"a": 8},
        "counted by a hard-coded 8",
    ),
    "channels picked by a table": Case(
        pair(8, 3), lambda m, x: m["b"](m["a"](x)[:, torch.tensor([1, 4, 5])]), {"a": 8}, "picked by position"
    ),
    "zeros padded after the channels": Case(
        pair(8, 10), lambda m, x: m["b"](F.pad(m["a"](x), (0, 0, 0, 0, 0, 2))), {"a": 4}
    ),
    "zeros padded around the image": Case(
        pair(), lambda m, x: m["b"](F.pad(m["a"](x), (1, 2, 3, 4))), {"a": 4, "b": 4}
    ),
    "a softmax over the channels": Case(
        pair(), lambda m, x: m["b"](m["a"](x).softmax(1)), {"a": 4}, check=Check.STATISTICS
    ),
    "a softmax over the image": Case(pair(), lambda m, x: m["b"](m["a"](x).softmax(-1)), {"a": 4, "b": 4}),
    "a mean over the channels": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x).mean(1, keepdim=True)),
        {"a": 4},
        check=Check.STATISTICS,
    ),
    "a sum over the channels": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x).relu().sum(1, keepdim=True)),
        {"a": 4},
    ),
    "a sum over the channels of what is not zero for zero": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x).sigmoid().sum(1, keepdim=True)),
        {"a": 8},
        "differs from the masked original",
    ),
    "a largest over the channels": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x).max(1, keepdim=True)[0]),
        {"a": 4},
        check=Check.STATISTICS,
    ),
    "which channel is the largest": Case(
        lambda: {"a": conv(3, 8), "b": conv(1, 4)},
        lambda m, x: m["b"](m["a"](x).max(1, keepdim=True)[1].float()),
        {"a": 8},
        "position of the largest",
    ),
    "a kernel as wide as the features": Case(
        lambda: {"a": nn.Linear(6, 8), "k": nn.Conv2d(1, 4, (3, 8)), "b": nn.Conv1d(4, 3, 1)},
        lambda m, x: m["b"](m["k"](m["a"](x).unsqueeze(1)).squeeze(-1)),
        {"a": 4, "k": 2, "b": 3},
        shape=(10, 6),
    ),
    "one channel per group of a group norm": Case(
        lambda: {"a": conv(3, 8), "n": nn.GroupNorm(8, 8), "b": conv(8, 4)},
        lambda m, x: m["b"](m["n"](m["a"](x))),
        {"a": 4, "n": 4, "b": 4},
    ),
    "a largest of two tensors": Case(pair(), lambda m, x: m["b"](torch.max(m["a"](x), m["a"](-x))), {"a": 4, "b": 4}),
    "a largest along the image": Case(
        lambda: {"a": conv(3, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"](m["a"](x).amax((2, 3))),
        {"a": 4, "b": 4},
    ),
    "prelu with one slope per channel": Case(
        lambda: {"a": conv(3, 8), "p": nn.PReLU(8), "b": conv(8, 4)},
        lambda m, x: m["b"](m["p"](m["a"](x))),
        {"a": 4, "p": 4, "b": 4},
    ),
    "prelu with one slope": Case(
        lambda: {"a": conv(3, 8), "p": nn.PReLU(), "b": conv(8, 4)},
        lambda m, x: m["b"](m["p"](m["a"](x))),
        {"a": 4, "p": 1, "b": 4},
    ),
    "instance norm with parameters": Case(
        lambda: {"a": conv(3, 8), "n": nn.InstanceNorm2d(8, affine=True), "b": conv(8, 4)},
        lambda m, x: m["b"](m["n"](m["a"](x))),
        {"a": 4, "n": 4, "b": 4},
    ),
    "resizing": Case(
        pair(), lambda m, x: m["b"](F.interpolate(m["a"](x), scale_factor=2, mode="bilinear")), {"a": 4, "b": 4}
    ),
    "matrix product of two activations": Case(
        lambda: {"q": nn.Linear(8, 6), "k": nn.Linear(8, 6), "v": nn.Linear(8, 6), "b": nn.Linear(6, 4)},
        lambda m, x: m["b"]((m["q"](x) @ m["k"](x).transpose(-1, -2)).softmax(-1) @ m["v"](x)),
        {"q": 3, "k": 3, "v": 3, "b": 4},
    ),
    "a layer called twice": Case(
        lambda: {"a": conv(3, 8), "s": conv(8, 8), "b": conv(8, 4)},
        lambda m, x: m["b"](m["s"](m["s"](m["a"](x)))),
        {"a": 4, "s": 4, "b": 4},
    ),
    "zeros made on the way": Case(
        pair(), lambda m, x: m["b"]((y := m["a"](x)) + torch.zeros(y.shape)), {"a": 4, "b": 4}
    ),
    "positions counted on the way": Case(
        pair(), lambda m, x: m["b"]((y := m["a"](x)) * torch.arange(y.shape[1]).view(-1, 1, 1)), {"a": 8}, "aten::mul"
    ),
    "rows picked by an index that is the same for every channel": Case(
        pair(),
        lambda m, x: m["b"](
            (y := m["a"](x)).gather(2, torch.tensor([3, 1, 2]).view(1, 1, 3, 1).repeat(2, y.shape[1], 1, 8))
        ),
        {"a": 4, "b": 4},
    ),
    "two tables with the channels between them": Case(
        lambda: {"a": conv(3, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"](m["a"](x)[torch.tensor([0, 1, 1]), :, torch.tensor([0, 2, 1])].transpose(1, 2)),
        {"a": 4, "b": 4},
    ),
    "overlapping windows of a sequence by strides": Case(
        lambda: {"a": nn.Linear(6, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"]((y := m["a"](x)).as_strided((2, 3, 6, c := y.shape[2]), (12 * c, 3 * c, c, 1)).amax(2)),
        {"a": 4, "b": 4},
        shape=(12, 6),
    ),
    "pooling along a sequence, the channels last": Case(
        lambda: {"a": nn.Linear(6, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"](F.avg_pool2d(m["a"](x)[:, None], (2, 1)) + F.max_pool2d(m["a"](x)[:, None], (2, 1))),
        {"a": 4, "b": 4},
        shape=(10, 6),
    ),
    "a matrix for each group of rows": Case(
        lambda: {"a": nn.Linear(6, 8), "experts": nn.Conv1d(8, 3, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"](
            torch._grouped_mm(m["a"](x).flatten(0, 1), m["experts"].weight, offs=torch.tensor([4, 4, 10]).int())  # type: ignore[arg-type]
        ),
        {"a": 4, "experts": 3, "b": 4},
        shape=(5, 6),
    ),
    "code that insists on float32": Case(
        pair(64),
        lambda m, x: m["b"](
            ((y := m["a"](x).relu().float()) / (y.sum(1, keepdim=True) + 1e-3)).to(m["b"].weight.dtype)
        ),
        {"a": 32, "b": 4},
    ),
    "code that gives numbers in float32 only": Case(
        pair(),
        lambda m, x: m["b"](m["a"](x)) + torch.zeros(()) / torch.tensor(float(x.dtype is torch.float32)),
        {"a": 4, "b": 4},
    ),
    "a system of equations for each channel": Case(
        lambda: {"a": nn.Linear(6, 8), "b": nn.Linear(8, 4)},
        lambda m, x: m["b"](torch.linalg.solve_triangular(x[:, :, :5].triu() + torch.eye(5), m["a"](x), upper=True)),
        {"a": 4, "b": 4},
        shape=(5, 6),
    ),
    "a mask drawn at random": Case(
        pair(), lambda m, x: m["b"](m["a"](x) * (torch.rand(2, 1, 8, 8) > 0.5)), {"a": 4, "b": 4}
    ),
    "an operator without a rule": Case(
        pair(),
        lambda m, x: m["b"](torch.linalg.pinv(m["a"](x))),
        {"a": 8},
        "no rule for this operator (aten::linalg_pinv",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_cuts_what_it_should(name: str) -> None:
    case = CASES[name]
    net = network(Parts(case.layers(), case.forward), case.shape)
    found, refused = cut(net, 0.5)

    assert case.reason or not refused
    layers = dict(found.module.get_submodule("layers").named_children())
    assert {layer: layers[layer].weight.shape[0] for layer in case.widths} == case.widths  # type: ignore[index]
    reasons = [frozen.reason for frozen in trace(net, rules.rule_of).channels.frozen]
    assert any(case.reason in reason for reason in (*reasons, *refused.values()))
    assert found.verification.check is (case.check if found.plan else Check.NONE)


@pytest.mark.parametrize(
    ("norm", "word"),
    [(nn.LayerNorm([8, 8, 8]), "layer norm"), (nn.GroupNorm(2, 8), "group norm")],
    ids=["layer", "group"],
)
def test_norms_over_channels_say_that_equality_cannot_hold(norm: nn.Module, word: str) -> None:
    parts = Parts(
        {"a": conv(3, 8), "n": norm, "b": conv(8, 6), "c": conv(6, 4)}, lambda m, x: m["c"](m["b"](m["n"](m["a"](x))))
    )
    found, refused = cut(network(parts, (3, 8, 8)), 0.5)

    assert refused == {}
    assert found.verification.check is Check.STATISTICS
    assert any(word in note for note in found.verification.notes)
    assert found.verification.notes[0].startswith("1 of 2 groups")


#: Operators of torchvision exist only where its compiled part is installed.
@pytest.mark.parametrize("row", [row for row in rules.RULES if row.startswith("aten::")])
def test_every_row_names_an_operator_that_torch_has(row: str) -> None:
    namespace, _, name = row.partition("::")
    name = name.partition(".")[0]
    found = getattr(torch.ops, namespace)
    assert hasattr(found, name) or hasattr(found, f"{name}_")
