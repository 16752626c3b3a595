"""The repair of a cut model, held to networks in which the half that goes can be had from the half that stays.

Every producer's second half of filters is eight times its first half, so l1 removes the first, and what reads the
channels can make up for it exactly: an eighth of the weight of a removed channel goes to its like. A repair must find
that.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice import pipeline
from coppice.calibration import normal_equations
from coppice.records.frameworks import Framework
from coppice.records.report import Fidelity, Progress
from coppice.records.request import Request
from coppice.steps.apply import copied
from coppice.steps.restore import nearest
from coppice.tracing import Layer, Network
from coppice.tracing.samples import Samples


@pytest.fixture(autouse=True)
def _hardly_any_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ridge keeps weights from exact recovery on purpose; here recovery is what is looked at."""
    monkeypatch.setattr(normal_equations, "ALPHA", 1e-7)
    torch.manual_seed(0)


class Wired(nn.Module):
    """Layers by name, and a wiring of them."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


class Concat(Wired):
    def forward(self, x: Tensor) -> Any:
        return self.out(torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)).mean((2, 3))


class Residual(Wired):
    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        return self.out(F.relu(x + self.second(F.relu(self.first(x))))).mean((2, 3))


class Attention(Wired):
    def forward(self, x: Tensor) -> Any:
        weights = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return self.out(weights @ self.v(x))


IMAGE = (3, 9, 8)
NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3, 2, 1)), IMAGE),
    "without bias": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3, bias=False)), IMAGE),
    "dilated": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 2, dilation=3, padding=2)), IMAGE),
    "batch norm": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3, bias=False)),
        IMAGE,
    ),
    "transposed": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 5, 3, 2, 1, 1)), IMAGE),
    "depthwise between": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 5, 1)),
        IMAGE,
    ),
    "linear": (nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)), (6,)),
    "flattened": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 6, 4)), IMAGE),
    "concatenated": (Concat(a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(3, 6, 3), out=nn.Conv2d(14, 5, 1)), IMAGE),
    "residual": (
        Residual(
            stem=nn.Conv2d(3, 8, 3, 1, 1),
            first=nn.Conv2d(8, 6, 3, 1, 1),
            second=nn.Conv2d(6, 8, 3, 1, 1),
            out=nn.Conv2d(8, 4, 1),
        ),
        IMAGE,
    ),
    "values of an attention": (
        Attention(q=nn.Linear(6, 6), k=nn.Linear(6, 6), v=nn.Linear(6, 8), out=nn.Linear(8, 3)),
        (5, 6),
    ),
}
#: Layers that stay whole.
KEPT = {"values of an attention": ("q", "k")}


@pytest.mark.parametrize("name", NETS)
def test_what_can_be_had_from_the_rest_is_recovered(name: str) -> None:
    module, shape = NETS[name]
    network = _network(_doubled(copied(module), KEPT.get(name, ())), shape, samples=400)
    pruned = pipeline.prune(network, _request(omit=KEPT.get(name, ())), _silent)
    x = torch.randn(50, *shape)
    with torch.no_grad():
        wanted, found = network.module(x), pruned.module(x)
    assert pruned.quality is not None
    assert pruned.quality.cut.distance is not None
    assert ((wanted - found).square().mean() / wanted.var()).item() < 1e-3 * pruned.quality.cut.distance


def test_nothing_is_repaired_where_that_is_not_wanted() -> None:
    module, shape = NETS["linear"]
    network = _network(_doubled(copied(module), ()), shape, samples=40)
    pruned = pipeline.prune(network, _request().model_copy(update={"restore": False}), _silent)
    assert pruned.quality is not None
    assert pruned.quality.restored == pruned.quality.cut
    kept = list(pruned.plan.kept["2.weight"][1])
    assert torch.equal(pruned.module.get_parameter("2.weight"), network.module.get_parameter("2.weight")[:, kept])


def test_the_original_and_its_statistics_stay_as_they_are() -> None:
    module, shape = NETS["batch norm"]
    network = _network(_doubled(copied(module), ()), shape, samples=40)
    before = {name: one.clone() for name, one in network.module.state_dict().items()}
    pipeline.prune(network, _request(), _silent)
    assert all(torch.equal(one, network.module.state_dict()[name]) for name, one in before.items())


def test_a_repair_that_fits_its_samples_and_nothing_else_is_not_given_back() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(200, 64), nn.ReLU(), nn.Linear(64, 3)).eval()
    inputs = torch.randn(60, 200)
    inputs[:48] *= 1e-4  # what is fitted to is not what is held out
    layers = tuple(Layer(name=path, path=path, kind="") for path in ("0", "1", "2"))
    network = Network(module=module, inputs=(inputs[:2],), layers=layers, samples=Samples(inputs=(inputs,)))
    quality = pipeline.prune(network, _request(), _silent).quality
    assert quality is not None
    distances = [one.fidelity.distance for one in quality.candidates]
    assert quality.restored.distance == min(one for one in distances if one is not None)
    assert [one.method for one in quality.candidates if one.chosen] == ["cut"]


class Twins(Wired):
    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.out(self.encoded(a) - self.encoded(b) / 2)

    def encoded(self, x: Tensor) -> Any:
        return F.relu(self.norm(self.second(F.relu(self.first(x))))).mean((2, 3))


@pytest.mark.parametrize("other", [0.0, 2.0])
def test_a_batch_norm_of_two_branches_moves_as_what_reaches_it_of_both(other: float) -> None:
    layers = {"first": nn.Conv2d(3, 8, 3), "second": nn.Conv2d(8, 6, 3, bias=False), "norm": nn.BatchNorm2d(6)}
    module = Twins(**layers, out=nn.Linear(6, 3)).eval()
    inputs = (torch.randn(60, 3, 8, 8), torch.randn(60, 3, 8, 8) + other)
    names = tuple(Layer(name=path, path=path, kind="") for path in (*layers, "out"))
    network = Network(
        module=module, inputs=(inputs[0][:2], inputs[1][:2]), layers=names, samples=Samples(inputs=inputs)
    )
    request = _request(omit=("second",))
    pruned, plain = (pipeline.prune(network, one, _silent).module for one in (request, _plain(request)))
    means, variances = [], []
    for one in (module, plain):
        met: list[Tensor] = []
        hook = one.get_submodule("norm").register_forward_pre_hook(lambda _, given, met=met: met.append(given[0]))
        with torch.no_grad():
            one(*(entry[:48] for entry in inputs))
        hook.remove()
        means.append(torch.cat(met).mean((0, 2, 3)))
        variances.append(torch.stack([arriving.var((0, 2, 3), correction=0) for arriving in met]).sum(0))
    moved = pruned.get_buffer("norm.running_mean") - module.get_buffer("norm.running_mean")
    assert torch.allclose(moved, means[1] - means[0], atol=1e-5)
    # Its product has the weights of both branches and can't be fitted, so its outputs have lost of their scale.
    scaled = pruned.get_buffer("norm.running_var") / module.get_buffer("norm.running_var")
    assert torch.allclose(scaled, variances[1] / variances[0], rtol=1e-4)


class Recurrent(nn.Module):
    """An LSTM between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(4, 8)
        self.cell = nn.LSTM(8, 6, batch_first=True)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.cell(F.relu(self.into(x)))[0][:, -1])


def test_what_a_recurrent_layer_reads_its_inputs_with_is_fitted() -> None:
    network = _network(Recurrent().eval(), (7, 4), samples=60)
    quality = pipeline.prune(network, _request(), _silent).quality
    assert quality is not None
    assert {"cell.weight_ih_l0", "out.weight"} <= {*quality.repaired}
    assert quality.left["cell.weight_hh_l0"] == "used 7 times in one pass"


class Tied(nn.Module):
    """Reads and writes words by one table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.hidden = nn.Linear(8, 16)
        self.back = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.back(self.hidden(self.table(x)).relu()), self.table.weight)


def test_a_table_that_is_a_weight_too_is_not_fitted() -> None:
    module, words = Tied().eval(), torch.randint(20, (60, 5))
    layers = tuple(Layer(name=path, path=path, kind="") for path in ("table", "hidden", "back"))
    network = Network(module=module, inputs=(words[:2],), layers=layers, samples=Samples(inputs=(words,)))
    pruned = pipeline.prune(network, _request(), _silent)
    assert pruned.quality is not None
    assert pruned.quality.left["table.weight"] == "read by embedding, too"
    kept = list(pruned.plan.kept["table.weight"][1])
    assert torch.equal(pruned.module.get_parameter("table.weight"), module.table.weight[:, kept])


def test_right_answers_count_before_nearness() -> None:
    judged = {
        "cut": Fidelity(accuracy=0.6, distance=0.5),
        "nearer": Fidelity(accuracy=0.5, distance=0.1),
        "near": Fidelity(accuracy=0.7, distance=0.2),
        "broken": Fidelity(accuracy=0.9, distance=None),
    }
    assert nearest(judged) == "near"


def _doubled(module: nn.Module, plain: tuple[str, ...]) -> nn.Module:
    """Make the second half of every producer's filters a multiple of the first."""
    layers = [
        (name, part) for name, part in module.named_modules() if hasattr(part, "weight") and part.weight.dim() > 1
    ]
    with torch.no_grad():
        for name, part in layers[:-1]:
            if name in plain:
                continue
            half = part.weight.shape[0] // 2
            # A depthwise filter scales as its input did already.
            factor = 1 if isinstance(part, nn.Conv2d) and part.groups > 1 else 8
            part.weight[half:] = factor * part.weight[:half]
            if part.bias is not None:
                part.bias[half:] = 8 * part.bias[:half]
    return module.eval()


def _network(module: nn.Module, shape: tuple[int, ...], *, samples: int) -> Network:
    inputs = (torch.randn(samples, *shape),)
    layers = tuple(Layer(name=path, path=path, kind="") for path, _ in module.named_modules() if path)
    return Network(module=module, inputs=(inputs[0][:2],), layers=layers, samples=Samples(inputs=inputs))


def _request(*, omit: tuple[str, ...] = ()) -> Request:
    return Request(framework=Framework.PYTORCH, percent=0.5, criterion="l1", omit=omit)


def _plain(request: Request) -> Request:
    return request.model_copy(update={"restore": False})


def _silent(_: Progress) -> None:
    """Nobody listens."""
