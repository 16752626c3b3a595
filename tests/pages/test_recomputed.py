"""The numbers of a report, computed again from the models and the samples alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor, nn

import coppice
from coppice.tracing.samples import HELD_OUT


def test_a_report_says_what_can_be_computed_from_the_models_themselves() -> None:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    ).eval()
    inputs, labels = torch.randn(60, 1, 8, 8, generator=generator), torch.randint(4, (60,), generator=generator)
    found = coppice.prune(model, percent=0.5, samples=(inputs, labels))
    report, quality = found.report, found.report.quality
    assert quality is not None
    assert [len(found.model.get_parameter(f"{place}.weight")) for place in (0, 3)] == [4, 3]

    dense = (1 * 9 + 1) * 8 + 2 * 8 + (8 * 9 + 1) * 6 + (96 + 1) * 4
    cut = (1 * 9 + 1) * 4 + 2 * 4 + (4 * 9 + 1) * 3 + (48 + 1) * 4
    assert (report.before.parameters, report.after.parameters) == (dense, cut)
    assert (report.before.bytes, report.after.bytes) == (
        4 * (dense + 16) + 8,
        4 * (cut + 8) + 8,
    )  # and batch norm's own
    assert report.before.macs == 36 * 9 * 8 + 16 * 8 * 9 * 6 + 96 * 4
    assert report.after.macs == 36 * 9 * 4 + 16 * 4 * 9 * 3 + 48 * 4
    # The input, and the two largest that follow each other: the first convolution's, and its norm's.
    assert report.before.activation_bytes == 4 * (64 + 2 * 8 * 36)
    assert report.after.activation_bytes == 4 * (64 + 2 * 4 * 36)

    held_out = list(quality.rows)
    assert quality.held_out == len(held_out) == round(60 * HELD_OUT)
    before, after = (outputs(one, inputs[held_out]) for one in (model, found.model))
    expected = labels[held_out].numpy()
    assert quality.before.accuracy == pytest.approx(np.mean(before.argmax(1) == expected))
    assert quality.restored.accuracy == pytest.approx(np.mean(after.argmax(1) == expected))
    assert quality.restored.agreement == pytest.approx(np.mean(before.argmax(1) == after.argmax(1)))
    apart = jensenshannon(softmax(before, 1), softmax(after, 1), axis=1) ** 2
    assert quality.restored.distance == pytest.approx(apart.mean(), rel=1e-4)


def outputs(model: nn.Module, inputs: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model(inputs).double().numpy()
    return found
