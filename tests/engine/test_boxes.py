"""What detectors are made of: windows of boxes, boxes compared, taps that look elsewhere; also where none is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice import rules
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.records.report import Check
from coppice.tracing import trace
from tests.engine.models import cut, network

prepare_torchvision()
from torchvision import ops  # noqa: E402


class Heads(nn.Module):
    """Windows of a feature map around some boxes, flattened and read by a linear layer, as in R-CNN."""

    def __init__(self, boxes: Tensor) -> None:
        super().__init__()
        self.features, self.read = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 2 * 2, 5)
        self.boxes = boxes

    def forward(self, x: Tensor) -> Tensor:
        windows = ops.roi_align(self.features(x), [self.boxes.to(x.dtype)] * len(x), output_size=(2, 2))
        # As MultiScaleRoIAlign does: the windows of each level are put into their places.
        placed = torch.zeros((len(windows), windows.shape[1], 2, 2), dtype=x.dtype)
        placed[torch.arange(len(windows))] = windows
        found: Tensor = self.read(placed.flatten(start_dim=1))
        return found


class Deformed(nn.Module):
    """A convolution whose taps look where another one says."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        self.features, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.offsets = nn.Conv2d(3, 2 * 9 * 2, 3, padding=1)  # two groups of channels, each with its own places
        self.taps = ops.DeformConv2d(8, 8, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.taps(self.features(x), self.offsets(x)))
        return found


BOXES = torch.tensor([[0.0, 0.0, 5.0, 5.0], [1.0, 2.0, 7.0, 6.0]])


@pytest.mark.parametrize("boxes", [BOXES, BOXES[:0]], ids=["two boxes", "no box on the example input"])
def test_features_lose_channels_with_all_that_reads_their_windows(boxes: Tensor) -> None:
    found, refused = cut(network(Heads(boxes), (3, 8, 8)), 0.5)
    assert refused == {}
    assert found.module.get_parameter("features.weight").shape[0] == 4
    assert found.module.get_parameter("read.weight").shape == (5, 4 * 2 * 2)


@pytest.mark.parametrize("options", [{}, {"groups": 2}], ids=["whole", "two groups"])
def test_a_deformable_convolution_loses_inputs_and_outputs_but_no_place(options: dict[str, int]) -> None:
    net = network(Deformed(**options), (3, 8, 8))
    found, refused = cut(net, 0.5)
    assert refused == {}
    assert found.verification.check is Check.EXACT
    assert found.module.get_parameter("taps.weight").shape == (4, 4 // options.get("groups", 1), 3, 3)
    assert found.module.get_parameter("offsets.weight").shape[0] == 36
    kept = found.plan.kept["features.weight"][0]
    assert [sum(place < 4 for place in kept), sum(place >= 4 for place in kept)] == [2, 2]


def _suppressed(x: Tensor) -> Tensor:
    found: Tensor = ops.nms(torch.stack([x[0], x[0], x[0] + 1, x[0] + 2], 1), x[1], 0.5)
    return found


@pytest.mark.parametrize(
    ("use", "reason"),
    [(_suppressed, "boxes that are compared"), (lambda x: (x > 0).nonzero(), "positions chosen by value")],
)
def test_what_comes_out_by_value_keeps_its_channels(use: Callable[[Tensor], Tensor], reason: str) -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return use(self.a(x))

    frozen = trace(network(Chooses(), (4,)), rules.rule_of).channels.frozen
    assert any(reason in one.reason for one in frozen)


def test_windows_of_a_ramp_hold_the_ramp_at_the_middle_of_each_bin() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    windows = ops.roi_align((3 * y + x)[None, None], [torch.tensor([[1.0, 2.0, 7.0, 10.0]])], output_size=(4, 3))
    middles = 3 * (2 + 2 * torch.arange(4.0) + 1)[:, None] + (1 + 2 * torch.arange(3.0) + 1)
    torch.testing.assert_close(windows[0, 0], middles)


def test_taps_that_all_look_one_pixel_to_the_right_see_the_picture_moved() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 7, 9), torch.randn(6, 2, 3, 3)
    offset = torch.zeros(2, 2 * 9, 5, 7)
    offset[:, 1::2] = 1.0
    moved = F.pad(x, (0, 1))[..., 1:]
    torch.testing.assert_close(ops.deform_conv2d(x, offset, weight), F.conv2d(moved, weight, groups=2))
