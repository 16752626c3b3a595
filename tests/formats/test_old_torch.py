"""Files that torch 1.0.0 and 1.4.0 wrote, with torchvision 0.2.1 and 0.5.0 (`make_old_torch.py`), as they are sent."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from coppice import pipeline
from coppice.formats import open_upload
from coppice.formats.pytorch.dataset import open_batches
from coppice.formats.pytorch.plain_pickle import stand_ins
from coppice.formats.pytorch.weights import read_weights
from coppice.records.request import Part
from tests.formats.models import Model, upload

FOLDER = Path(__file__).parent / "old_torch"
SOURCE = """
from torch import nn

class Old(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))
"""
MODEL = Model(source=SOURCE, name="Old", input_size=(1, 8, 8), file="old.py")

each_version = pytest.mark.parametrize("version", ["1.0.0", "1.4.0"])


def opened(version: str, name: str, tmp_path: Path) -> nn.Module:
    request, files = upload(tmp_path, MODEL, weights=(FOLDER / version / name).read_bytes())
    return open_upload(request, files).network.module


@each_version
def test_an_old_state_dict_gives_what_it_gave_then(version: str, tmp_path: Path) -> None:
    expected = torch.load(FOLDER / version / "expected.pth", weights_only=True)
    with torch.no_grad():
        found = opened(version, "state.pth", tmp_path)(expected["x"])
    torch.testing.assert_close(found, expected["y"])


@each_version
def test_an_old_checkpoint_opens_past_what_else_is_in_it(version: str, tmp_path: Path) -> None:
    state = torch.load(FOLDER / version / "state.pth", weights_only=True)
    found = opened(version, "checkpoint.pth", tmp_path).state_dict()
    # One step of training lies between the two files: the statistics are the same, the weights are not.
    assert torch.equal(found["norm.running_mean"], state["norm.running_mean"])
    assert not torch.equal(found["conv.weight"], state["conv.weight"])


@each_version
def test_what_an_old_checkpoint_holds_is_plain_data(version: str) -> None:
    weights = read_weights(FOLDER / version / "checkpoint.pth", file="checkpoint.pth")
    assert stand_ins(weights.content) == frozenset()
    assert weights.content["args"].lr == 0.1
    assert weights.content["best"] == 0.5


@pytest.mark.slow
@each_version
def test_an_old_checkpoint_comes_back_as_one_that_its_torch_opens(version: str, tmp_path: Path) -> None:
    request, files = upload(tmp_path, MODEL, weights=(FOLDER / version / "checkpoint.pth").read_bytes())
    request = request.model_copy(update={"files": {**request.files, Part.WEIGHTS: "checkpoint.pth.tar"}})
    (tmp_path / "out").mkdir()
    pipeline.run(request, files, tmp_path / "out", lambda _: None)
    path = tmp_path / "out" / "checkpoint.pth_pruned_weights.tar"
    head = (FOLDER / version / "checkpoint.pth").read_bytes()[:64]
    assert path.read_bytes()[:64] == head  # magic number, protocol and sizes of the machine, as that release wrote them
    found = torch.load(path, weights_only=False)
    assert found["state_dict"]["module.conv.weight"].shape == (3, 1, 3, 3)
    assert (found["epoch"], found["args"].lr, found["best"]) == (3, 0.1, 0.5)


LOADERS = ("shuffled", "subset", "weighted", "batches", "transforms", "mnist")


@each_version
@pytest.mark.parametrize("name", LOADERS)
def test_an_old_loader_is_rebuilt(version: str, name: str) -> None:
    path = FOLDER / version / f"{name}.pth"
    images, labels = next(open_batches(path, ModuleType("model"), file=path.name, seed=0))
    assert images.shape[1:] == ((1, 28, 28) if name == "mnist" else (1, 8, 8))
    assert len(images) == len(labels)
    # Of these loaders the image says its label.
    if name == "mnist":
        torch.testing.assert_close(images[:, 0, 0, 0] * 0.3081 + 0.1307, labels / 255)
    elif name != "transforms":
        assert images[:, 0, 0, 0].tolist() == labels.tolist()
