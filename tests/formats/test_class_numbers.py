"""The class file of a pruned model states the numbers that its code reshapes by, wherever the code keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from coppice.formats.pytorch.class_def import NotDescribable, class_definition
from coppice.formats.pytorch.user_module import build_model, load_class
from tests.engine.models import cut, network

SHARED = """
from types import SimpleNamespace
from torch import nn

COMMON = SimpleNamespace(width=16, name="small", inner=SimpleNamespace(flat=64))

class Body(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.mid = config, nn.Linear(config.width, 4 * config.width)

    def forward(self, x):
        return self.mid(x.view(-1, self.config.width))

class Net(nn.Module):
    classes = 64

    def __init__(self):
        super().__init__()
        self.config, self.parts, self.sizes = COMMON, [16, 16], {"all": 32, 7: "seven"}
        self.into, self.body = nn.Linear(12, 32), Body(COMMON)
        self.out = nn.Linear(4 * COMMON.width, 5)

    def forward(self, x):
        one, other = self.into(x).view(-1, self.sizes["all"]).split(self.parts, dim=1)
        x = self.body(one * other.sigmoid()).view(-1, self.config.inner.flat)
        return self.out(x.view(-1, self.classes))
"""

NAMED = """
from typing import NamedTuple
from torch import nn

class Sizes(NamedTuple):
    width: int

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.sizes, self.a, self.b = Sizes(16), nn.Linear(12, 16), nn.Linear(16, 5)

    def forward(self, x):
        return self.b(self.a(x).view(-1, self.sizes.width))
"""


def pruned_text(folder: Path, source: str) -> tuple[str, torch.nn.Module, torch.Tensor]:
    """The class file after the cut, the pruned model that it must build, and an input."""
    path = folder / "model.py"
    path.write_text(source)
    user = load_class(path, file="model.py", name="Net")
    net = network(build_model(user, seed=0), (12,))
    found, refused = cut(net, 0.5)
    assert refused == {}
    return class_definition(user, net.module, found.module, found.plan).decode(), found.module, net.inputs[0]


def test_a_shared_configuration_is_copied_and_cut(tmp_path: Path) -> None:
    text, pruned, x = pruned_text(tmp_path, SHARED)
    namespace: dict[str, Any] = {"__name__": "model_pruned"}
    exec(text, namespace)
    for _ in range(2):  # what the first model changed must not reach the second
        model = namespace["Net"]().eval()
        model.load_state_dict(pruned.state_dict())
        torch.testing.assert_close(model(x), pruned(x))
        assert (model.parts, model.sizes, model.config.width, model.body.config.width, model.config.inner.flat) == (
            [8, 8],
            {"all": 16, 7: "seven"},
            8,
            8,
            32,
        )
    assert (namespace["Net"]().classes, namespace["Net"].classes) == (32, 64)
    assert (namespace["COMMON"].width, namespace["COMMON"].inner.flat) == (16, 64)


def test_a_named_tuple_can_not_be_written_out(tmp_path: Path) -> None:
    with pytest.raises(NotDescribable, match="sizes, a Sizes"):
        pruned_text(tmp_path, NAMED)
