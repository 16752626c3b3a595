"""What the held-out samples say of a model, against figures computed with numpy and scipy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor, nn

from coppice.records.report import Distance, Fidelity
from coppice.steps import quality
from coppice.steps.quality import Judge, apart
from coppice.tracing import Network
from coppice.tracing.samples import Samples


class Shifted(nn.Module):
    """Adds numbers to what it is given, and makes something of the sum."""

    def __init__(self, shift: Tensor | float, then: Callable[[Tensor], object] = lambda x: x) -> None:
        super().__init__()
        self.shift, self.then = torch.as_tensor(shift), then

    def forward(self, x: Tensor) -> object:
        return self.then(x + self.shift)


def judge(module: nn.Module, inputs: Tensor, labels: Tensor | None = None) -> Judge:
    return Judge(Network(module=module, inputs=(inputs[:2],), layers=()), Samples(inputs=(inputs,), labels=labels))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.mean(jensenshannon(p, q, axis=-1) ** 2))  # scipy gives the root


def test_accuracy_and_agreement_are_shares_of_largest_outputs() -> None:
    inputs, shift = drawn(150, 5), drawn(5)  # more than a batch
    labels = torch.randint(5, (150,), generator=torch.Generator().manual_seed(4))
    found = judge(Shifted(0.0), inputs, labels).of(Shifted(shift))
    before, after = inputs.numpy().argmax(1), (inputs + shift).numpy().argmax(1)
    assert found.accuracy == pytest.approx(np.mean(after == labels.numpy()))
    assert found.agreement == pytest.approx(np.mean(after == before))
    assert np.mean(after == before) not in (0, 1)


def test_logits_are_compared_as_probabilities_where_labels_are_classes() -> None:
    inputs, shift = drawn(20, 5), drawn(5)
    by = judge(Shifted(0.0), inputs, torch.zeros(20, dtype=torch.int64))
    expected = divergence(softmax(inputs.double().numpy(), 1), softmax((inputs + shift).double().numpy(), 1))
    assert by.distance is Distance.JS
    assert by.of(Shifted(shift)).distance == pytest.approx(expected)


def test_opposite_certainties_are_as_far_as_can_be() -> None:
    certain = torch.tensor([[0.0, -math.inf], [0.0, -math.inf]])
    by = judge(Shifted(torch.zeros(1)), certain.repeat(5, 1))
    found = by.of(Shifted(0.0, lambda x: x.flip(1)))
    assert by.distance is Distance.JS
    assert found.distance == pytest.approx(math.log(2))


@pytest.mark.parametrize("then", [lambda x: x.softmax(1), lambda x: x.log_softmax(1)], ids=["softmax", "logarithms"])
@pytest.mark.parametrize("shape", [(20, 5), (4, 5, 3, 3)], ids=["a class each", "a class for every pixel"])
def test_probabilities_are_recognised_by_their_sums(then: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    inputs, shift = drawn(*shape), drawn(*shape[1:])
    by = judge(Shifted(0.0, then), inputs)
    rows = [np.moveaxis(part.double().numpy(), 1, -1) for part in (inputs, inputs + shift)]
    assert by.distance is Distance.JS
    assert by.of(Shifted(shift, then)).distance == pytest.approx(divergence(*(softmax(r, -1) for r in rows)), rel=1e-4)


def test_other_outputs_are_compared_by_the_mean_square_over_their_variance() -> None:
    inputs = drawn(20, 5)
    by = judge(Shifted(0.0), inputs)
    found = by.of(Shifted(0.5))
    assert by.distance is Distance.MSE
    assert found.distance == pytest.approx(0.25 / np.var(inputs.double().numpy()))
    assert found.accuracy is None


def test_the_distance_of_several_outputs_is_their_mean() -> None:
    inputs = drawn(20, 5)
    both: Callable[[Tensor], object] = lambda x: {"plain": x, "tenfold": [10 * x[:, :2], "no tensor"]}  # noqa: E731
    parts = [inputs.double().numpy(), 10 * inputs[:, :2].double().numpy()]
    expected = np.mean([0.25 / np.var(parts[0]), 25 / np.var(parts[1])])
    assert judge(Shifted(0.0, both), inputs).of(Shifted(0.5, both)).distance == pytest.approx(expected)


def test_a_regression_has_an_error_and_no_classes() -> None:
    inputs, targets = drawn(20, 2), drawn(20, 2) * 3
    found = judge(Shifted(0.0), inputs, targets).of(Shifted(1.0))
    expected = np.mean((inputs + 1 - targets).numpy() ** 2) / np.var(targets.numpy())
    assert found.error == pytest.approx(expected)
    assert (found.accuracy, found.agreement) == (None, None)


@pytest.mark.parametrize(("then", "bound"), [(torch.sigmoid, 0.5), (lambda x: x, 0.0)], ids=["sigmoid", "logit"])
def test_one_output_decides_between_two_classes(then: Callable[[Tensor], Tensor], bound: float) -> None:
    inputs = drawn(20, 1)
    labels = torch.arange(20) % 2
    found = judge(Shifted(0.0, then), inputs, labels).of(Shifted(0.3, then))
    as_targets = judge(Shifted(0.0, then), inputs, labels.float()[:, None]).of(Shifted(0.3, then))
    assert found == as_targets
    assert found.accuracy == np.mean((then(inputs + 0.3)[:, 0] > bound).numpy() == labels.numpy())


def test_the_original_is_as_near_to_itself_as_can_be() -> None:
    by = judge(Shifted(0.0), drawn(20, 5), torch.zeros(20, dtype=torch.int64))
    assert (by.original.agreement, by.original.distance) == (1.0, 0.0)


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_outputs_that_are_no_numbers_are_infinitely_far_and_still_json(worst: float) -> None:
    by = judge(Shifted(0.0), drawn(20, 5))
    found = by.of(Shifted(torch.tensor([0, 0, 0, 0, worst])))
    assert json.loads(found.model_dump_json())["distance"] is None
    assert apart(found) == math.inf
    assert Fidelity.model_validate_json(found.model_dump_json()) == found


def test_a_class_of_nan_is_no_class() -> None:
    by = judge(Shifted(0.0), drawn(20, 5), torch.zeros(20, dtype=torch.int64))
    assert by.of(Shifted(torch.tensor([math.nan, 0, 0, 0, 0]))).accuracy == 0


def test_a_mask_of_infinities_is_no_difference() -> None:
    mask = torch.tensor([0, -math.inf, 0])
    assert judge(Shifted(mask), drawn(20, 3)).of(Shifted(mask)).distance == 0


def test_boxes_whose_number_changes_are_infinitely_far() -> None:
    def above(x: Tensor) -> list[Tensor]:
        return [row[row > 0] for row in x]

    by = judge(Shifted(0.0, above), drawn(20, 5))
    assert by.original.distance == 0
    assert apart(by.of(Shifted(1.0, above))) == math.inf


def test_samples_whose_outputs_are_too_many_are_not_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "OUTPUT_BYTES", 100 * 5 * 4)
    by = judge(Shifted(0.0), drawn(300, 5))
    assert len(by.samples) == 2 * quality.BATCH  # the batch that passed the bound is the last
    assert by.of(Shifted(0.0)).distance == 0
