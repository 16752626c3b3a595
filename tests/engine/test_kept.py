"""What stays though it meets channels, what is told of it, and what follows though no state dict holds it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coppice import rules
from coppice.tracing import trace
from tests.engine.models import cut, network


class Rolled(nn.Module):
    """Channels turned around: no plan can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        turned = torch.roll(self.a(x), 1, 1)
        return torch.as_tensor(self.b(turned))


def test_a_single_channel_that_stays_is_told_too() -> None:
    net = network(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), (4,))
    (entry,) = trace(net, rules.rule_of).channels.frozen
    assert (entry.axis, entry.count, entry.reason) == (("2.weight", 0), 1, "output of the model")


def test_a_reason_names_the_operator_the_module_and_the_line_of_the_user() -> None:
    net = network(Rolled(), (3, 8, 8))
    reason = next(one.reason for one in trace(net, rules.rule_of).channels.frozen if one.axis == ("a.weight", 0))

    assert reason.startswith("rolled by a number of positions (aten::roll at the model (test_kept.py, line ")
    assert "in forward: turned = torch.roll(self" in reason


class Positioned(nn.Module):
    """Positions in a plain attribute, as many write them, and what an earlier run has left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)
        self.positions = torch.arange(80.0).reshape(1, 10, 8)
        self.last = torch.zeros(2, 10, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.a(x) + self.positions[:, : x.shape[1]]
        return torch.as_tensor(self.b(self.last))


def test_a_table_in_a_plain_attribute_follows_its_channels() -> None:
    net = network(Positioned(), (10, 6))
    found, _ = cut(net, 0.5)

    kept = list(found.plan.kept["a.weight"][0])
    assert len(kept) == 4
    assert torch.equal(found.module.get_submodule("").positions, torch.arange(80.0).reshape(1, 10, 8)[:, :, kept])  # type: ignore[arg-type]
    assert {frozen.reason for frozen in trace(net, rules.rule_of).channels.frozen} == {"output of the model"}


class Registers(nn.Module):
    """Learned tokens beside those of the input, and an attention that mixes them all."""

    def __init__(self) -> None:
        super().__init__()
        self.registers = nn.Parameter(torch.randn(1, 4, 8))
        self.a, self.norm, self.q, self.v, self.b = (
            nn.Linear(6, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([self.registers.expand(x.shape[0], -1, -1), self.a(x)], 1))
        q = self.q(y)
        return torch.as_tensor(self.b(((q @ q.transpose(1, 2)).softmax(-1) @ self.v(y)).mean(1)))


def test_learned_tokens_are_no_channels() -> None:
    found, refused = cut(network(Registers(), (10, 6)), 0.5)

    assert refused == {}
    assert {name: tuple(tensor.shape) for name, tensor in found.module.named_parameters() if tensor.dim() > 1} == {
        "registers": (1, 4, 4),
        "a.weight": (4, 6),
        "q.weight": (4, 4),
        "v.weight": (4, 4),
        "b.weight": (4, 4),
    }
