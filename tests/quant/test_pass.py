"""What the pass leaves in stored tensors, whatever their layout: codes of the grid, by a scale for every output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coppice.calibration import rounding, targets
from coppice.quant import GRIDS
from coppice.records.quantization import Rounding
from coppice.steps.quantize import Outcome
from coppice.tracing import Network, stored
from tests.quant.networks import Attention, Recurrent, convolutional, network, quantized


def held(outcome: Outcome) -> None:
    """What a `QuantizedModel` promises."""
    tensors = stored(outcome.model.module)
    assert outcome.model.coded
    for name, coded in outcome.model.coded.items():
        grid = GRIDS[coded.bits]
        assert coded.codes.dtype is torch.int8
        assert coded.codes.shape == tensors[name].shape
        assert torch.isin(coded.codes, torch.arange(-grid.largest, grid.largest + 1, grid.step)).all()
        assert torch.equal(tensors[name], coded.codes.float() * coded.scale)
    for layer in outcome.layers:
        assert (layer.tensor in outcome.model.coded) == layer.precision.whole
        if layer.precision.whole:
            assert outcome.model.coded[layer.tensor].bits == layer.precision.bits
            assert outcome.model.coded[layer.tensor].rounding is layer.rounding


@pytest.mark.parametrize("weights", ["int8", "int4", "int2", "int1"])
@pytest.mark.parametrize(
    ("make", "shape"), [(convolutional, (3, 8, 8)), (Attention, (6, 16))], ids=["convolutional", "attention"]
)
def test_every_weight_lies_on_its_grid(make: Callable[[], nn.Module], shape: tuple[int, ...], weights: str) -> None:
    torch.manual_seed(0)
    dense = network(make(), *shape)
    before = {name: tensor.clone() for name, tensor in stored(dense.module).items()}

    outcome = quantized(dense, weights=weights)

    held(outcome)
    assert all(torch.equal(tensor, before[name]) for name, tensor in stored(dense.module).items())
    assert {layer.tensor for layer in outcome.layers} == {
        name for name, tensor in stored(dense.module).items() if tensor.dim() > 1
    }


def test_scales_lie_along_outputs() -> None:
    torch.manual_seed(0)
    coded = quantized(network(convolutional(), 3, 8, 8), weights="int4").model.coded

    assert {name: tuple(one.scale.shape) for name, one in coded.items()} == {
        "0.weight": (12, 1, 1, 1),
        "3.weight": (12, 1, 1, 1),
        "4.weight": (16, 1, 1, 1),
        "7.weight": (16, 1, 1, 1),
        "9.weight": (16, 6, 1, 1),  # transposed, two groups: inputs of a group share their outputs' scales
        "13.weight": (24, 1),
        "15.weight": (5, 1),
    }
    transposed = coded["9.weight"].scale
    assert torch.equal(transposed[:8], transposed[:1].expand(8, 6, 1, 1))
    assert torch.equal(transposed[8:], transposed[8:9].expand(8, 6, 1, 1))


def test_rounding_alone_is_numpy_by_hand() -> None:
    torch.manual_seed(0)
    dense = network(convolutional(), 3, 8, 8)

    outcome = quantized(dense, samples=False, weights="int8", rounding="nearest")

    for name in ("0.weight", "7.weight", "15.weight"):
        weight = stored(dense.module)[name].detach().double().numpy()
        scale = abs(weight).reshape(len(weight), -1).max(1).reshape(-1, *[1] * (weight.ndim - 1)) / 127
        assert (outcome.model.coded[name].codes.numpy() == (weight / scale).round()).mean() > 0.999
    for name, tensor in stored(dense.module).items():
        if name not in outcome.model.coded:
            assert torch.equal(stored(outcome.model.module)[name], tensor)


def outputs(dense: Network, outcome: Outcome, path: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer gives in both models, channel by channel, seen by a hook."""
    found = []
    for module in (dense.module, outcome.model.module):
        seen: list[Tensor] = []
        hook = module.get_submodule(path).register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        with torch.no_grad():
            module(x)
        hook.remove()
        found.append(seen[0].movedim(1, 0).flatten(1))
    return found[0], found[1]


@pytest.mark.parametrize("rounding", ["nearest", "clipped", "gptq"])
def test_channels_keep_mean_and_deviation(rounding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what layers with a bias give, and of what batch norms make of those without."""
    torch.manual_seed(0)
    monkeypatch.setattr(targets, "FEWEST_ROWS", targets.MOST_ROWS)  # all rows, so that nothing is left to chance
    dense = network(convolutional(), 3, 8, 8)
    assert dense.samples is not None
    fitted = dense.samples.split()[0].inputs[0]

    outcome = quantized(dense, weights="int2", rounding=rounding, layers={"*": "int2"})

    for path in ("1", "3", "5", "7", "9", "13", "15"):
        before, after = outputs(dense, outcome, path, fitted)
        deviation = before.std(1)
        assert torch.allclose(after.mean(1), before.mean(1), atol=2e-3 * deviation.max().item()), path
        assert torch.allclose(after.std(1), deviation, rtol=5e-3), path


class Unbiased(nn.Module):
    """The last product has no bias, and what comes to it is not around zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.last = nn.Conv2d(16, 4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.first(x).relu())
        return result


def test_without_a_bias_it_is_the_power_that_is_kept() -> None:
    torch.manual_seed(0)
    dense = network(Unbiased(), 3, 8, 8, samples=torch.rand(80, 3, 8, 8) + 1)
    assert dense.samples is not None

    eight, two = (quantized(dense, weights=one, rounding="nearest", layers={"*": one}) for one in ("int8", "int2"))

    before, after = outputs(dense, two, "last", dense.samples.split()[0].inputs[0])
    assert torch.allclose(after.square().mean(1), before.square().mean(1), rtol=1e-2)
    alone = quantized(dense, samples=False, weights="int8", rounding="nearest")
    assert snr(dense, eight) > snr(dense, alone) - 1


def test_without_samples_deviations_drift() -> None:
    """What the test above would see if nothing were corrected."""
    torch.manual_seed(0)
    dense = network(convolutional(), 3, 8, 8)
    assert dense.samples is not None

    outcome = quantized(dense, samples=False, weights="int2", rounding="nearest", layers={"*": "int2"})

    before, after = outputs(dense, outcome, "15", dense.samples.inputs[0])
    assert (after.std(1) / before.std(1) - 1).abs().max() > 0.1


def snr(dense: Network, outcome: Outcome) -> float:
    assert dense.samples is not None
    x = dense.samples.split()[1].inputs[0]
    with torch.no_grad():
        wanted, found = dense.module(x), outcome.model.module(x)
    power = (wanted - wanted.mean(0)).square().sum()
    return float(10 * torch.log10(power / (wanted - found).square().sum()))


@pytest.mark.parametrize("weights", ["int4", "int2"])
def test_calibration_wins_decibels(weights: str) -> None:
    torch.manual_seed(0)
    dense = network(convolutional(), 3, 8, 8)
    ways: dict[str, Any] = {one: quantized(dense, weights=weights, rounding=one) for one in ("nearest", "gptq")}
    ways["alone"] = quantized(dense, samples=False, weights=weights, rounding="nearest")

    decibels = {way: snr(dense, outcome) for way, outcome in ways.items()}

    assert decibels["gptq"] > decibels["nearest"] + 1.5
    assert decibels["nearest"] > decibels["alone"] + 3


def test_adaround_is_another_rounding() -> None:
    torch.manual_seed(0)
    dense = network(convolutional(), 3, 8, 8)

    learnt, gptq = (quantized(dense, weights="int2", rounding=one) for one in ("adaround", "gptq"))

    held(learnt)
    assert any(layer.rounding is Rounding.ADAROUND for layer in learnt.layers)
    assert any(not torch.equal(one.codes, gptq.model.coded[name].codes) for name, one in learnt.model.coded.items())
    assert snr(dense, learnt) > snr(dense, gptq) - 3


def test_weights_that_are_used_again_and_again_are_rounded_alone() -> None:
    torch.manual_seed(0)
    dense = network(Recurrent(), 6, 8)

    few = quantized(dense, weights="int2", layers={"head": "int2"})
    some = quantized(dense, weights="int4")

    held(few)
    held(some)
    by_tensor = {layer.tensor: layer for layer in few.layers}
    hidden = by_tensor["lstm.weight_hh_l0"]
    assert hidden.precision == "int8"
    assert hidden.reason is not None
    assert "6 times" in hidden.reason
    assert {layer.tensor: layer.rounding for layer in some.layers}["lstm.weight_hh_l0"] is Rounding.NEAREST
    assert by_tensor["middle.weight"].rounding is Rounding.GPTQ


class Partly(nn.Module):
    """Of one table only the first rows are multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(12, 8))
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last((self.first(x) @ self.table[:8]).relu())
        return result


def test_a_weight_that_is_one_in_part_only_stays_as_it_is() -> None:
    torch.manual_seed(0)
    dense = network(Partly(), 8)

    outcome = quantized(dense, weights="int4")

    held(outcome)
    assert outcome.model.left == {"table": "only a part of it is multiplied with"}
    assert torch.equal(stored(outcome.model.module)["table"], stored(dense.module)["table"])


def test_inputs_that_are_too_many_are_taken_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    samples = torch.randn(600, 64) @ torch.randn(64, 64)
    dense = network(nn.Sequential(nn.Linear(64, 16)), 64, samples=samples)
    asked: dict[str, Any] = {"weights": "int2", "layers": {"*": "int2"}}
    whole, alone = (quantized(dense, rounding=one, **asked) for one in ("gptq", "clipped"))
    monkeypatch.setattr(rounding, "SYSTEM_BYTES", rounding.PER_ENTRY * 30**2)

    parts = quantized(dense, rounding="gptq", **asked)  # three parts

    held(parts)
    assert not torch.equal(parts.model.coded["0.weight"].codes, whole.model.coded["0.weight"].codes)
    assert snr(dense, alone) + 1 < snr(dense, parts) < snr(dense, whole)
