"""Random small networks and random plans, held to the oracle; and rules broken on purpose, which it must catch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coppice import rules
from coppice.channels import Axes
from coppice.errors import ForwardFailed, VerificationFailed
from coppice.rules import joining, movement
from coppice.steps.allocate import Allocation, uniform
from coppice.steps.apply import apply, masked
from coppice.steps.make_plan import make_plan
from coppice.steps.score import score
from coppice.steps.verify import verify
from coppice.tracing import Call, trace
from tests.engine.models import ZOO, cut, network


class Random(nn.Module):
    """A chain of blocks drawn from the parts that real networks are made of; widths are multiples of 4."""

    def __init__(self, blocks: Sequence[tuple[str, int]], head: str) -> None:
        super().__init__()
        self.kinds = [kind for kind, _ in blocks]
        self.blocks = nn.ModuleList()
        width = 3
        for kind, out in blocks:
            width, block = _block(kind, width, out)
            self.blocks.append(block)
        self.head = nn.Linear(width * (16 if head == "flatten" else 1), 5)
        self.flat = head == "flatten"

    def forward(self, x: Tensor) -> Tensor:
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = _run(kind, block, x)
        x = F.adaptive_avg_pool2d(x, 4) if self.flat else F.adaptive_max_pool2d(x, 1)
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


def _block(kind: str, into: int, out: int) -> tuple[int, nn.Module]:
    def conv(a: int, b: int, **options: int) -> nn.Conv2d:
        return nn.Conv2d(a, b, 3, padding=1, **options)  # type: ignore[arg-type]

    match kind:
        case "conv":
            return out, nn.Sequential(conv(into, out), nn.BatchNorm2d(out), nn.ReLU6())
        case "residual":
            return out, nn.ModuleList([conv(into, out), nn.BatchNorm2d(out), conv(out, out), conv(into, out)])
        case "concat":
            return into + out, conv(into, out)
        case "depthwise":
            return into * 2, conv(into, into * 2, groups=into)
        case "grouped" if into % 4 == 0:
            return out, conv(into, out, groups=4)
        case "excite":
            return into, nn.ModuleList([nn.Linear(into, 4), nn.Linear(4, into)])
        case "up":
            return out, nn.ConvTranspose2d(into, out, 2, stride=2)
        case "shuffle" if into % 2 == 0:
            return into, nn.ChannelShuffle(2)
        case _:
            return out, conv(into, out)


def _run(kind: str, block: nn.Module, x: Tensor) -> Tensor:
    match block:
        case nn.ModuleList() if kind == "residual":
            first, norm, second, shortcut = block
            return F.relu(second(F.relu(norm(first(x)))) + shortcut(x))
        case nn.ModuleList():
            squeeze, excite = block
            return x * torch.sigmoid(excite(F.silu(squeeze(x.mean((2, 3))))))[:, :, None, None]
        case _ if kind == "concat":
            return torch.cat([x, F.leaky_relu(block(x))], dim=1)
        case _:
            return block(x)  # type: ignore[no-any-return]


BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "residual", "concat", "depthwise", "grouped", "excite", "up", "shuffle"]),
        st.sampled_from([4, 8, 12]),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=BLOCKS, head=st.sampled_from(["flatten", "pool"]), percent=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_any_network_equals_its_masked_original_under_any_plan(
    blocks: list[tuple[str, int]], head: str, percent: float, seed: int
) -> None:
    net = network(Random(blocks, head), (3, 8, 8))
    found, refused = cut(net, percent, criterion="random", seed=seed)

    assert refused == {}
    with torch.no_grad():
        expected = masked(net.module, found.plan).double()(*[x.double() for x in net.inputs])
        got = apply(net.module, found.plan).double()(*[x.double() for x in net.inputs])
    assert (got - expected).abs().max() <= 1e-10 * expected.abs().max()


def _concatenate_backwards(call: Call) -> Sequence[Axes]:
    (axes,) = joining.concatenate(call)
    return [tuple(labels[::-1].copy() if axis == 1 else labels for axis, labels in enumerate(axes))]


def _convolution_without_groups(call: Call) -> Sequence[Axes]:
    x, weight = call.axes("input"), call.axes("weight")
    call.ledger.produces(weight[0])
    if call["groups"] == 1:
        call.ledger.contract(x[1], weight[1])
    return [(x[0], weight[0], x[2], x[3])]


def _flatten_by_position(call: Call) -> Sequence[Axes]:
    (axes,) = movement.reshaped(call)
    if len(call.axes("self")) == 4 and len(axes) == 2:
        return [(axes[0], axes[1].reshape(-1, call["self"].shape[1]).T.reshape(-1))]
    return [axes]


@pytest.mark.parametrize(
    ("row", "broken", "name"),
    [
        ("aten::cat", _concatenate_backwards, "unet"),
        ("aten::convolution", _convolution_without_groups, "mobilenet_v3_small"),
        ("aten::view", _flatten_by_position, "document"),
        ("aten::add_.Tensor", lambda call: [call.axes("self")], "resnet18"),
    ],
)
def test_a_broken_rule_fails_the_oracle(row: str, broken: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = ZOO[name]
    net = network(build(), shape)
    monkeypatch.setitem(rules.RULES, row, broken)
    channels = trace(net, rules.rule_of).channels
    half = Allocation(channels, uniform(channels, 0.5))
    plan = make_plan(channels, score(net, channels, "random", 1).scores, half, range(len(channels.groups)))

    with pytest.raises((VerificationFailed, ForwardFailed)):
        verify(net, apply(net.module, plan), plan, exact=True)


class ZeroBranch(nn.Module):
    """A residual branch as it is often initialised: its last scale is zero or tiny, so it adds nothing yet."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)
        self.scale = nn.Parameter(torch.full((8, 1, 1), scale))
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.a(x)
        return self.head(x + self.scale * self.b(torch.cat([y, y.tanh()], dim=1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("scale", [0.0, 1e-9])
def test_a_wrong_cut_behind_a_tiny_scale_fails_the_oracle(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(ZeroBranch(scale), (3, 8, 8))
    monkeypatch.setitem(rules.RULES, "aten::cat", _concatenate_backwards)
    channels = trace(net, rules.rule_of).channels
    plan = make_plan(
        channels,
        score(net, channels, "random", 1).scores,
        Allocation(channels, uniform(channels, 0.5)),
        range(len(channels.groups)),
    )
    with torch.no_grad():  # on the weights as they are, nothing is to be seen
        torch.testing.assert_close(apply(net.module, plan)(*net.inputs), masked(net.module, plan)(*net.inputs))

    with pytest.raises(VerificationFailed):
        verify(net, apply(net.module, plan), plan, exact=True)
