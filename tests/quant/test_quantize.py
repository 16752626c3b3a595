"""The step: which precision each layer gets and why, what is refused, and the search within `max_drop`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coppice.errors import (
    BadUpload,
    DatasetInvalid,
    ParameterInvalid,
    PrecisionImpossible,
    Refused,
    SamplesMissing,
    TargetUnreachable,
    UnknownLayer,
)
from coppice.records.quantization import Precision
from coppice.steps.quantize import Outcome
from coppice.tracing import Network, stored
from tests.quant.networks import Attention, Recurrent, convolutional, network, quantized


def mlp(widths: tuple[int, ...] = (12, 40, 40, 40, 5)) -> Network:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return network(nn.Sequential(*layers[:-1]), widths[0])


def precisions(outcome: Outcome) -> dict[str, str]:
    return {layer.name: str(layer.precision) for layer in outcome.layers}


def test_first_and_last_layer_keep_eight_bits() -> None:
    outcome = quantized(mlp(), weights="int4")

    assert precisions(outcome) == {"0": "int8", "2": "int4", "4": "int4", "6": "int8"}
    assert [layer.reason is None for layer in outcome.layers] == [False, True, True, False]
    assert "first" in str(outcome.layers[0].reason)
    assert "last" in str(outcome.layers[-1].reason)


def test_layers_are_named_as_the_user_likes() -> None:
    outcome = quantized(mlp(), weights="int4", layers={"[04]": "int2", "2": "float32", "6": "float16"})

    assert precisions(outcome) == {"0": "int2", "2": "float32", "4": "int2", "6": "float16"}
    assert set(outcome.model.left) == {"2.weight", "6.weight"}
    assert dict(outcome.model.floats) == {"6.weight": Precision.FLOAT16}
    half = stored(outcome.model.module)["6.weight"]
    assert torch.equal(half, half.half().float())
    dense = stored(mlp().module)
    assert torch.equal(stored(outcome.model.module)["2.weight"], dense["2.weight"])


def test_a_later_name_wins() -> None:
    outcome = quantized(mlp(), weights="int4", layers={"*": "int2", "4": "int8"})

    assert precisions(outcome) == {"0": "int2", "2": "int2", "4": "int8", "6": "int2"}


def test_unknown_layers_are_named_with_what_there_is() -> None:
    with pytest.raises(UnknownLayer, match="no layer '9'") as caught:
        quantized(mlp(), weights="int4", layers={"9": "int8"})
    assert caught.value.field == "layers"


def test_a_layer_without_weights_has_no_precision() -> None:
    with pytest.raises(ParameterInvalid, match="multiplies with no stored weight"):
        quantized(mlp(), weights="int4", layers={"1": "int8"})


def test_a_precision_that_the_file_can_not_hold_is_refused_for_a_layer_too() -> None:
    with pytest.raises(PrecisionImpossible, match="Possible there: int1, int2, int4, int8, float32"):
        quantized(mlp(), precision="int8", layers={"2": "float16"})


@pytest.mark.parametrize(("precision", "levels"), [("int8", 127), ("int4", 7)])
def test_biases_are_rounded_last_with_one_scale_each(precision: str, levels: int) -> None:
    outcome = quantized(mlp(), weights="int4", biases=precision)
    unrounded = stored(quantized(mlp(), weights="int4").model.module)

    for name in ("0.bias", "2.bias", "4.bias", "6.bias"):
        coded = outcome.model.coded[name]
        scale = unrounded[name].abs().max() / levels
        assert coded.scale.shape == (1,)
        assert torch.allclose(coded.scale, scale)
        assert torch.equal(coded.codes.float(), (unrounded[name] / scale).round())
        assert torch.equal(stored(outcome.model.module)[name], coded.values)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_sixteen_bits_round_every_tensor(precision: str) -> None:
    torch.manual_seed(0)
    dense = network(convolutional(), 3, 8, 8)

    outcome = quantized(dense, samples=False, precision=precision, output_format="safetensors")

    kind = getattr(torch, precision)
    assert not outcome.model.coded
    for name, tensor in stored(dense.module).items():
        found = stored(outcome.model.module)[name]
        assert found.dtype is tensor.dtype
        if tensor.is_floating_point():
            assert torch.equal(found, tensor.to(kind).float())
            assert outcome.model.floats[name] == precision


def test_numbers_beyond_sixteen_bits_are_refused() -> None:
    dense = mlp()
    with torch.no_grad():
        stored(dense.module)["2.bias"][3] = 1e5

    with pytest.raises(PrecisionImpossible, match=r"2\.bias holds 1e"):
        quantized(dense, samples=False, precision="float16")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"weights": "int2"}, "less than four bits"),
        ({"weights": "int4", "layers": {"2": "int1"}}, "less than four bits"),
        ({"weights": "int4", "rounding": "gptq"}, "rounding=gptq"),
        ({"weights": "int4", "rounding": "adaround"}, "rounding=adaround"),
        ({"precision": "int8"}, "activations=float32"),
    ],
)
def test_what_needs_samples_says_so(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(SamplesMissing, match=told) as caught:
        quantized(mlp(), samples=False, **asked)
    assert caught.value.field == "dataset"


def test_few_bits_without_samples_are_had_by_saying_nearest() -> None:
    outcome = quantized(mlp(), samples=False, weights="int2", rounding="nearest")

    assert precisions(outcome)["2"] == "int2"


def test_samples_that_are_all_the_same_tell_nothing() -> None:
    dense = network(convolutional(), 3, 8, 8, samples=torch.ones(40, 3, 8, 8) * torch.randn(3, 8, 8))

    with pytest.raises(DatasetInvalid, match="are the same"):
        quantized(dense, weights="int2")


class Endless(nn.Module):
    """Gives infinity for every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.dense(x.clamp(max=0).log())
        return result


def test_samples_that_give_no_numbers_are_refused() -> None:
    dense = network(Endless(), 6)

    with pytest.raises(DatasetInvalid, match="no finite numbers"):
        quantized(dense, weights="int2")


def test_weights_that_are_no_numbers_are_named() -> None:
    dense = mlp()
    with torch.no_grad():
        stored(dense.module)["4.weight"][1, 1] = torch.nan

    with pytest.raises(BadUpload, match=r"4\.weight holds numbers that are not finite"):
        quantized(dense, samples=False, weights="int8")


@pytest.mark.parametrize("weights", ["int8", "int4", "int1"])
def test_a_model_that_is_quantized_is_not_quantized_again(weights: str) -> None:
    once = quantized(mlp(), weights=weights)
    dense = network(once.model.module, 12)

    with pytest.raises(BadUpload, match="quantized already"):
        quantized(dense, weights="int8")


def test_a_model_of_which_a_layer_is_in_floats_is_not_taken_for_quantized() -> None:
    once = quantized(mlp(), weights="int4", layers={"2": "float32"})

    assert quantized(network(once.model.module, 12), weights="int8").model.coded


def test_nothing_to_multiply_is_refused() -> None:
    with pytest.raises(Refused, match="nothing to quantize"):
        quantized(network(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), 3, 4, 4), weights="int8")


def test_within_max_drop_layers_are_raised_until_it_holds() -> None:
    dense = mlp()

    tight = quantized(dense, weights="int1", max_drop=0.05, rounding="clipped")
    loose = quantized(dense, weights="int1", max_drop=1.0, rounding="clipped")

    assert loose.raised == 0
    assert len(loose.trials) == 1
    assert precisions(loose) == {"0": "int8", "2": "int1", "4": "int1", "6": "int8"}
    assert tight.raised > 0
    assert tight.trials[-1].bytes > loose.trials[0].bytes
    assert not tight.trials[0].accepted
    accepted = [trial for trial in tight.trials if trial.accepted]
    bits = sum(layer.parameters * layer.precision.bits for layer in tight.layers)
    assert min(trial.bytes for trial in accepted) == -(-bits // 8)
    assert all(trial.drop is not None and (trial.drop <= 0.05) == trial.accepted for trial in tight.trials)
    assert dense.samples is not None
    held_out = dense.samples.split()[1].inputs[0]
    with torch.no_grad():
        agreed = dense.module(held_out).argmax(1) == tight.model.module(held_out).argmax(1)
    assert 1 - agreed.double().mean().item() <= 0.05


def test_a_search_goes_on_beyond_what_lost_too_much_as_a_file() -> None:
    dense = mlp()
    first = quantized(dense, weights="int1", max_drop=0.1, rounding="clipped")

    second = quantized(dense, weights="int1", max_drop=0.1, rounding="clipped", beyond=first.raised + 1)

    assert second.raised > first.raised
    assert second.trials[-1].bytes > min(trial.bytes for trial in first.trials if trial.accepted)
    with pytest.raises(TargetUnreachable, match="max_drop"):
        quantized(dense, weights="int1", max_drop=0.1, rounding="clipped", beyond=1000)


def test_layers_that_were_named_are_not_raised() -> None:
    with pytest.raises(TargetUnreachable, match=r"costs 0\.\d+"):
        quantized(mlp(), weights="int1", max_drop=1e-6, layers={"*": "int1"})


@pytest.mark.parametrize("make", [Attention, Recurrent])
def test_mixed_precision_of_other_networks(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    dense = network(make(), 6, 16 if make is Attention else 8)

    outcome = quantized(dense, weights="int4", layers={"head": "float32"})

    assert set(outcome.model.left) == {"head.weight"}
    assert dense.samples is not None
    x = dense.samples.inputs[0]
    with torch.no_grad():
        wanted, found = dense.module(x), outcome.model.module(x)
    assert (found - wanted).square().mean() < 0.1 * wanted.var(0).mean()
