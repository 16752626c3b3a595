"""What a pass gathers of the channels that weights read, against the same computed from hooks on the layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from coppice.channels import Channels
from coppice.criteria import Evidence
from coppice.tracing import Network
from coppice.tracing.samples import Samples
from tests.criteria.networks import evidence, sampled

Floats = NDArray[np.float64]


class Joined(nn.Module):
    """Two branches meet in one convolution, a third of whose inputs is fixed; groups, depthwise, strides, Flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 6, 3)
        self.joint = nn.Conv2d(13, 8, 3, stride=2)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.parts = nn.Conv2d(8, 6, 1, groups=2)
        self.out = nn.Linear(6 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.a(x)), x[:, :, 1:-1, 1:-1], F.relu(self.b(x))], 1)
        x = self.parts(F.relu(self.depth(F.relu(self.joint(x)))))
        out: Tensor = self.out(F.relu(x).flatten(1))
        return out


def entering(net: Network, name: str, samples: Samples) -> Tensor:
    """What flows into a layer."""
    kept: list[Tensor] = []
    handle = net.module.get_submodule(name).register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        net.module(*samples.inputs)
    handle.remove()
    return kept[0].double()


@pytest.fixture(scope="module")
def joined() -> tuple[Network, Evidence, Channels]:
    torch.manual_seed(0)
    net = sampled(Joined(), (3, 9, 9))
    return net, *evidence(net)


def test_the_covariance_is_that_of_all_channels_that_a_layer_reads(joined: tuple[Network, Evidence, Channels]) -> None:
    net, found, _ = joined
    readings = {reading.region[0]: reading for reading in found.readings}
    assert readings.keys() == {"joint.weight", "parts.weight", "out.weight"}  # depthwise reads no group

    rows = entering(net, "joint", found.portion.samples).movedim(1, -1).flatten(0, 2)
    np.testing.assert_allclose(readings["joint.weight"].mean[0], rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(readings["joint.weight"].mean_square[0], rows.square().mean(0), rtol=1e-4)
    covariance = readings["joint.weight"].covariance()
    assert covariance is not None
    np.testing.assert_allclose(covariance[0], torch.cov(rows.T, correction=0), rtol=1e-3, atol=1e-4)


def test_every_group_of_a_convolution_is_a_problem_of_its_own(joined: tuple[Network, Evidence, Channels]) -> None:
    net, found, _ = joined
    (reading,) = (one for one in found.readings if one.region[0] == "parts.weight")
    rows = entering(net, "parts", found.portion.samples).movedim(1, -1).flatten(0, 2)
    covariance = reading.covariance()
    assert covariance is not None
    for group, inside in enumerate((slice(0, 4), slice(4, 8))):
        np.testing.assert_allclose(covariance[group], torch.cov(rows[:, inside].T, correction=0), rtol=1e-3, atol=1e-4)
    (part,) = reading.parts
    assert part.units.tolist() == [[0, 1, 2, 3]] * 2  # position i of each group of inputs is one unit
    assert part.channels.squeeze(2).tolist() == [[0, 1, 2, 3]] * 2


def test_a_part_names_the_places_of_a_branch_in_what_was_concatenated(
    joined: tuple[Network, Evidence, Channels],
) -> None:
    _, found, channels = joined
    (reading,) = (one for one in found.readings if one.region[0] == "joint.weight")
    places = {channels.groups[part.group].producers[0][0]: part.channels.ravel().tolist() for part in reading.parts}
    assert places == {"a.weight": [0, 1, 2, 3], "b.weight": list(range(7, 13))}


def test_behind_a_flatten_the_places_of_a_channel_count_as_rows(joined: tuple[Network, Evidence, Channels]) -> None:
    net, found, _ = joined
    (reading,) = (one for one in found.readings if one.region[0] == "out.weight")
    assert not reading.whole  # 32 rows of 54 features
    (part,) = reading.parts
    rows = entering(net, "out", found.portion.samples).reshape(-1, 6, 9)
    expected = torch.stack([torch.cov(rows[:, :, place].T, correction=0) for place in range(9)]).mean(0)
    covariance = reading.covariance(part)
    assert covariance is not None
    order = [int(channels[0]) // 9 for channels in part.channels[0]]
    np.testing.assert_allclose(covariance[0], expected[order][:, order], rtol=1e-3, atol=1e-5)
