"""What a repair may take, held to what its systems of equations take by their shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coppice.calibration import least_squares
from coppice.calibration.least_squares import SYSTEM_BYTES, most_rows
from coppice.calibration.survey import survey
from coppice.calibration.targets import note
from coppice.records.plan import Plan


@pytest.mark.parametrize(("groups", "features"), [(1, 4608), (1, 8192), (1, 25088), (1, 32768), (64, 1152), (1, 10**7)])
def test_the_matrices_of_a_system_fit_into_what_it_may_take(groups: int, features: int) -> None:
    rows = most_rows(groups, features)
    smaller = min(rows, features)
    kernel, inputs = smaller**2 * 8, 0 if rows >= features else rows * features * (4 + 8)
    assert rows >= 1
    assert rows == 1 or groups * (kernel + inputs) <= SYSTEM_BYTES


def test_a_convolution_of_very_many_features_is_fitted_to_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares, "SYSTEM_BYTES", 2**20)
    module, x = nn.Sequential(nn.Conv1d(32, 8, 16), nn.Conv1d(8, 2, 3)).eval(), torch.randn(4, 32, 300)
    noted = note(module, Plan(), survey(module, (x,)), (x,), 4).products
    assert noted["0.weight"].outputs.shape == (1, most_rows(1, 512), 8)
    assert len(noted["0.weight"].picks) < 100
    assert len(noted["1.weight"].picks) == 4 * 283
