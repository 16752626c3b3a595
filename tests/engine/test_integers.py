"""Numbers in the user's code follow the cut: models that reshape by their own attributes are pruned."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import coppice
from coppice import rules
from coppice.records.plan import Plan
from coppice.records.report import Check
from coppice.steps.apply import apply
from coppice.tracing import trace
from tests.engine.attention import HALVED, Flattened
from tests.engine.models import cut, network


def numbers_of(value: Any) -> Any:
    """The plain data in a module's attributes, configuration objects opened."""
    if isinstance(value, nn.Module):
        held = {k: v for k, v in [*vars(type(value)).items(), *vars(value).items()] if not callable(v)}
        own = {k: numbers_of(v) for k, v in held.items() if not k.startswith("_")}
        return {**own, **{name: numbers_of(child) for name, child in value.named_children()}}
    if type(value) in (list, tuple):
        return [numbers_of(entry) for entry in value]
    return {k: numbers_of(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("name", HALVED)
def test_half_of_a_model_is_the_model_built_half_as_wide(name: str) -> None:
    build, width, shape = HALVED[name]
    net, small = network(build(width), shape), build(width // 2)
    found, refused = cut(net, 0.5)

    assert refused == {}
    assert found.verification.check is not Check.NONE
    assert {k: v.shape for k, v in found.module.state_dict().items()} == {
        k: v.shape for k, v in small.state_dict().items()
    }
    assert numbers_of(found.module.eval()) == numbers_of(small.eval())


@pytest.mark.parametrize("name", HALVED)
def test_a_plan_read_back_from_json_sets_the_same_numbers(name: str) -> None:
    build, width, shape = HALVED[name]
    net = network(build(width), shape)
    found, _ = cut(net, 0.5)
    again = apply(net.module, Plan.model_validate_json(found.plan.model_dump_json()))
    assert numbers_of(again) == numbers_of(found.module)


@pytest.mark.parametrize("percent", [0.3, 0.7])
@pytest.mark.parametrize("name", HALVED)
def test_any_share_leaves_a_model_that_runs(name: str, percent: float) -> None:
    build, width, shape = HALVED[name]
    net = network(build(width), shape)
    found, refused = cut(net, percent)
    assert refused == {}
    assert found.module(*net.inputs).shape == net.module(*net.inputs).shape


class Remembers(nn.Module):
    """Writes numbers into itself while it runs."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.fails, self.width, self.seen = fails, 8, [0, 1]
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.last, self.seen, self.ratio = x.shape, [self.width, *x.shape], {"half": self.width // 2}
        if self.fails:
            raise RuntimeError("no")
        return self.b(x.view(-1, self.width))  # type: ignore[no-any-return]


@pytest.mark.parametrize("fails", [False, True])
def test_after_the_trace_a_model_holds_ordinary_numbers(fails: bool) -> None:
    model = Remembers(fails)
    net = network(model, (4,))
    if fails:
        with pytest.raises(coppice.errors.ForwardFailed):
            trace(net, rules.rule_of)
    else:
        trace(net, rules.rule_of)
    held = [model.width, *model.seen, *model.last, *model.ratio.values()]
    assert held == [8, 8, 2, 8, 2, 8, 4]
    assert {type(number) for number in held} == {int}
    assert type(model.a.in_features) is int


class ManyLayers(nn.Module):
    """One hard-coded number among many layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Linear(16, 16) for _ in range(12))
        self.into, self.odd, self.out = nn.Linear(4, 16), nn.Linear(16, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        for layer in self.body:
            x = layer(x).relu()
        x = self.odd(x).view(-1, 24)
        return self.out(x)  # type: ignore[no-any-return]


def test_a_hard_coded_number_is_found_without_searching() -> None:
    net, runs = network(ManyLayers(), (4,)), list[int]()
    net.module.register_forward_hook(lambda *_: runs.append(1))  # copies keep it
    found, refused = cut(net, 0.5)
    (reason,) = refused.values()
    assert re.fullmatch(
        r"counted by a hard-coded 24: view at the model \(test_integers\.py, line \d+, in forward: "
        r"x = self\.odd\(x\)\.view\(-1, 24\)\)",
        reason,
    )
    assert [found.module.get_parameter(f"{name}.weight").shape[0] for name in ("into", "odd", "body.7")] == [8, 24, 8]
    # Two of the trace, one that fails, and what a model without such a number takes.
    assert len(runs) <= 12


class Odd(nn.Module):
    """Adds one to a width: no share of the channels can be right for both."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 16
        self.a, self.b, self.c, self.d = nn.Linear(4, 16), nn.Linear(16, 17), nn.Linear(17, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = self.b(y).view(-1, y.shape[1] + 1)
        return self.d(self.c(z))  # type: ignore[no-any-return]


def test_a_size_that_can_not_follow_holds_its_channels_and_says_where() -> None:
    net = network(Odd(), (4,))
    reasons = {entry.axis: entry.reason for entry in trace(net, rules.rule_of).channels.frozen}
    assert "a size in the code can't follow" in reasons["b.weight", 0]
    assert "y.shape[1] + 1" in reasons["b.weight", 0]
    found, refused = cut(net, 0.5)
    assert refused == {}
    assert [found.module.get_parameter(f"{name}.weight").shape[0] for name in "abcd"] == [16, 17, 4, 3]


class Sized(nn.Module):
    """Two layers, between which the code looks at its sizes in some way."""

    def __init__(self, look: Callable[[Sized, Tensor], Tensor]) -> None:
        super().__init__()
        self.look, self.width, self.heads, self.ratio = look, 16, 4, 0.5
        self.a = nn.Linear(4, 16)
        self.out = nn.Linear(look(self, torch.zeros(2, 16)).shape[1], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.look(self, self.a(x)))  # type: ignore[no-any-return]


LOOKS: dict[str, Callable[[Sized, Tensor], Tensor]] = {
    "half, by int": lambda m, x: x[:, : int(m.width / 2)],
    "half of a shape": lambda m, x: x[:, : int(x.shape[1] / 2)],
    "rounded": lambda m, x: x[:, : round(m.width * m.ratio)],
    "rounded up": lambda m, x: x[:, : math.ceil(m.width / 2)],
    "from the end": lambda m, x: x[:, -(m.width // 2) :],
    "shifted": lambda m, x: x[:, : m.width >> 1],
    "heads, by int": lambda m, x: x.view(-1, m.heads, int(m.width / m.heads)).flatten(1),
    "a product of numpy": lambda m, x: x.view(len(x), 2, -1).reshape(-1, int(np.prod(x.shape[1:]))),
    "elements by rows": lambda m, x: x.view(len(x), 2, -1).view(-1, int(x.numel() / x.shape[0])),
    "a length": lambda m, x: x.T.reshape(len(x.T), -1).T,
    "a tensor's item": lambda m, x: x.view(-1, int(torch.tensor(x.shape[1]).item())),
    "a name": lambda m, x: {x.shape[1]: x}[m.width] if f"{m.width:d}" else x,
}


@pytest.mark.parametrize("name", LOOKS)
def test_sizes_are_followed_through_what_people_do_with_them(name: str) -> None:
    found, refused = cut(network(Sized(LOOKS[name]), (4,)), 0.5)
    assert (refused, found.verification.check) == ({}, Check.EXACT)
    assert found.module.get_parameter("a.weight").shape[0] == 8


WIDTH = 16


def from_text(model: Sized, x: Tensor) -> Tensor:
    """Loses its number on the way."""
    return x.view(-1, int(str(model.width)))


UNKNOWN: dict[str, tuple[Callable[[Sized, Tensor], Tensor], str]] = {
    "written out": (lambda m, x: x.view(-1, 16), r"a hard-coded 16: view .*x\.view\(-1, 16\)"),
    "a global": (lambda m, x: x.view(-1, WIDTH), r"the global WIDTH = 16, which can't be set .*x\.view\(-1, WIDTH\)"),
    "from text": (from_text, r"the number 16, which can't be traced back .*in from_text: return x\.view"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_number_that_can_not_follow_is_named(name: str) -> None:
    look, reason = UNKNOWN[name]
    _, refused = cut(network(Sized(look), (4,)), 0.5)
    (found,) = refused.values()
    assert re.match(f"counted by {reason}", found)


class Coincidence(nn.Module):
    """Counts to half of a number that has nothing to do with its widths, and reshapes to others of the same value."""

    def __init__(self, variable: bool) -> None:
        super().__init__()
        self.steps, self.variable = 32, variable
        self.a, self.b, self.out = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = int(self.steps / 2)
        x = self.b(self.a(x)).view(-1, 16)
        for _ in range(steps):
            x = x + 0.1 * x
        width = 16
        return self.out(x.view(-1, width) if self.variable else x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("variable", [False, True])
def test_an_unrelated_number_of_the_same_value_sets_nothing(variable: bool) -> None:
    net = network(Coincidence(variable), (4,))
    found, refused = cut(net, 0.5)
    assert found.plan.attributes == {}
    assert [found.module.get_parameter(f"{name}.weight").shape[0] for name in "ab"] == [8, 16]
    assert len(refused) == 1


def test_torch_attention_is_cut_inside_and_out() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Linear(12, 32), nn.Linear(32, 5)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.embedding(x)
            return self.head((x + self.attention(x, x, x)[0]).mean(1))  # type: ignore[no-any-return]

    net = network(Attends(), (6, 12))
    found, refused = cut(net, 0.5)
    assert refused == {}
    attention = found.module.get_submodule("attention")
    assert isinstance(attention, nn.MultiheadAttention)
    assert attention.in_proj_weight.shape == (48, 16)
    assert (attention.embed_dim, attention.num_heads, attention.head_dim) == (16, 4, 4)


def test_a_transformer_encoder_is_cut_everywhere() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.Sequential(nn.Linear(12, 32), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(192, 5))
    found, refused = cut(network(model, (6, 12)), 0.5)
    assert refused == {}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.module.state_dict().items() if "1.layers.1." in name}
    assert shapes["1.layers.1.self_attn.in_proj_weight"] == (48, 16)
    assert shapes["1.layers.1.linear1.weight"] == (32, 16)


def test_the_users_class_gets_its_numbers_back_when_the_trace_is_over() -> None:
    model = Flattened(16)
    before = dict(vars(model))
    coppice.prune(model, percent=0.5, example_inputs=torch.zeros(1, 3, 8, 8))
    assert vars(model) == before


def test_a_comparison_of_sizes_holds_after_the_cut() -> None:
    class Checks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expected = 16
            self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            if x.shape[-1] != self.expected:
                raise ValueError("wrong width")
            return self.b(F.relu(x))  # type: ignore[no-any-return]

    found, refused = cut(network(Checks(), (4,)), 0.5)
    assert refused == {}
    assert (found.plan.attributes, found.verification.check) == ({"": {"expected": 8}}, Check.EXACT)


def test_numbers_that_differed_differ_after_the_cut() -> None:
    class Widens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = 16, 32
            self.a, self.b, self.c, self.out = nn.Linear(4, 16), nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            y = self.b(x)
            if self.before != self.after:  # only ever compared: nothing says that it counts channels
                x = self.c(x).view(-1, self.after)
            return self.out(x + y)  # type: ignore[no-any-return]

    found, refused = cut(network(Widens(), (4,)), 0.5)
    assert refused == {}
    assert found.plan.attributes == {"": {"before": 8, "after": 16}}


class Compiled(nn.Module):
    """Reshapes by a number that TorchScript has compiled in."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.width = nn.Linear(16, 16), 16

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).view(-1, self.width).relu()  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_torchscript_holds_stays_and_the_rest_goes() -> None:
    compiled = torch.jit.script(Compiled())
    net = network(nn.Sequential(nn.Linear(4, 16), compiled, nn.Linear(16, 8), nn.Linear(8, 3)), (4,))
    reasons = {entry.axis: entry.reason for entry in trace(net, rules.rule_of).channels.frozen}
    assert reasons["0.weight", 0] == reasons["1.a.weight", 0]
    assert reasons["0.weight", 0].startswith("1 is TorchScript, whose sizes can't be set")
    found, refused = cut(net, 0.5)
    assert refused == {}
    assert [found.module.get_parameter(f"{n}.weight").shape[0] for n in (0, 2, 3)] == [16, 4, 3]


def test_numbers_that_count_nothing_do_no_harm() -> None:
    class Flags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.auto, self.same, self.end, self.limit = -1, -1, 2**63 - 1, 2**63 - 1
            self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            if self.auto == self.same and self.end == self.limit:
                x = x[:, : self.end].view(2, self.auto)
            return self.b(x)  # type: ignore[no-any-return]

    found, refused = cut(network(Flags(), (4,)), 0.5)
    assert refused == {}
    assert found.plan.attributes == {}
    assert found.module.get_parameter("a.weight").shape[0] == 8


class Paths(nn.Module):
    """Splits its channels among paths, and says how wide one is by a division only."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.paths = 8, 2
        self.a, self.left, self.right, self.b = nn.Linear(6, 8), nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.split(self.a(x), self.channels // self.paths, 1)
        return torch.as_tensor(self.b(self.left(left) + self.right(right)))


def test_what_is_divided_follows_not_what_divides_it() -> None:
    found, refused = cut(network(Paths(), (6,)), 0.5)

    assert refused == {}
    assert isinstance(found.module, Paths)
    assert (found.module.channels, found.module.paths) == (4, 2)
    assert found.module.left.weight.shape == (3, 2)
