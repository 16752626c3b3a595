"""Two widths of a model, compared with what depends on the width held equal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.errors import VerificationFailed
from coppice.records.report import Check
from coppice.rules.standins import STAND_INS
from coppice.steps.twins import differing, watched
from tests.engine.models import cut, network


def test_only_calls_that_depend_on_the_width_differ() -> None:
    def run(width: int) -> None:
        x = torch.ones(2, 3, width)
        x = F.layer_norm(x, (width,)) * width**-0.5
        x.mean(1).softmax(0) * 2.0

    with watched() as wide:
        run(8)
    with watched() as narrow:
        run(4)
    assert differing(wide, narrow) == {0: ("aten::native_layer_norm", (8.0,)), 1: ("aten::mul", (8**-0.5,))}


def test_a_number_of_the_original_takes_the_place_of_the_other() -> None:
    with watched({0: ("aten::mul", (3.0,))}):
        assert torch.equal(torch.ones(2) * 5.0, torch.full((2,), 3.0))


def test_a_stand_in_keeps_zeros_and_looks_at_no_other_position() -> None:
    norm = nn.LayerNorm(6)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(2, 6)
    with torch.no_grad(), watched({0: ("aten::native_layer_norm", (6.0,))}):
        whole = norm(x)
    half = nn.LayerNorm(3)
    half.load_state_dict({"weight": norm.weight[:3], "bias": norm.bias[:3]})
    with torch.no_grad(), watched({0: ("aten::native_layer_norm", (6.0,))}):
        torch.testing.assert_close(half(x[:, :3]), whole[:, :3])
        assert not norm(torch.zeros(2, 6)).any()


def test_another_path_through_the_code_is_no_twin() -> None:
    def path(x: Tensor) -> Tensor:
        return x.mean() if x.shape[0] > 2 else x.amax()

    with watched() as wide:
        path(torch.ones(4))
    with watched() as narrow:
        path(torch.ones(2))
    with pytest.raises(VerificationFailed, match="another path"):
        differing(wide, narrow)


@pytest.mark.parametrize("row", STAND_INS)
def test_every_stand_in_names_an_operator_that_torch_has(row: str) -> None:
    assert hasattr(torch.ops.aten, row.removeprefix("aten::").partition(".")[0])


class Correlated(nn.Module):
    """All pairs of places compared, as optical flow does it: the scale is a tensor made of the number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.read = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(64, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        samples, channels, height, width = (features := self.features(x)).shape
        flat = features.view(samples, channels, height * width)
        pairs = flat.transpose(1, 2) @ flat / torch.sqrt(torch.tensor(channels))
        return self.read(pairs.view(samples, height * width, height, width))  # type: ignore[no-any-return]


def test_a_tensor_made_of_a_width_is_that_of_the_original_in_both() -> None:
    found, refused = cut(network(Correlated(), (3, 8, 8)), 0.5)
    assert (refused, found.verification.check) == ({}, Check.STATISTICS)
    assert found.module.get_parameter("features.weight").shape[0] == 8
