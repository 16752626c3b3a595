"""The sample DataLoader: the documents' own, old ones, and ones that name the user's classes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from coppice.formats import open_upload
from coppice.formats.pytorch.dataset import open_batches
from tests.formats.models import MODELS, NET, WORDS, Model, upload

DIGITS = load_digits()
IMAGES = torch.arange(4 * 28 * 28, dtype=torch.float32).reshape(4, 1, 28, 28)
LABELS = torch.tensor([3, 1, 4, 1])

#: The lines of the document that make and save its loader, in a process of the user's own; `download` apart.
USER = """
import sys
import torch
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
prepare_torchvision()
from torchvision import datasets, transforms

train_kwargs = {'batch_size': 64}
cuda_kwargs = {'num_workers': 1, 'pin_memory': True, 'shuffle': True}
train_kwargs.update(cuda_kwargs)
transform=transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.1307,), (0.3081,))
    ])
dataset1 = datasets.MNIST(sys.argv[1], train=True, download=False, transform=transform)
train_loader = torch.utils.data.DataLoader(dataset1,**train_kwargs)
torch.save(train_loader, sys.argv[2])
"""


def write_mnist(root: Path) -> np.ndarray:
    """scikit-learn's digits, enlarged to 28x28, in the files that torchvision reads. Returns the images."""
    enlarged = np.kron(DIGITS.images[:100] * 15, np.ones((3, 3))).astype(np.uint8)
    images = np.pad(enlarged, ((0, 0), (2, 2), (2, 2)))
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    # The idx format: two zeros, the type (8: unsigned byte), the number of axes, then their sizes, big-endian.
    for split in ("train", "t10k"):
        sizes = np.array(images.shape, dtype=">i4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
        labels = DIGITS.target[:100].astype(np.uint8)
        head = b"\0\0\x08\x01" + np.array(labels.shape, dtype=">i4").tobytes()
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return images


@pytest.fixture(scope="module")
def document_loader(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, np.ndarray]:
    """`train_loader.pth` as the document saves it, and the images in it."""
    folder = tmp_path_factory.mktemp("mnist")
    images = write_mnist(folder / "data")
    path = folder / "train_loader.pth"
    subprocess.run([sys.executable, "-c", USER, folder / "data", path], check=True, timeout=120)
    return path.read_bytes(), images


@pytest.mark.slow
def test_the_documents_loader_gives_its_normalised_images(
    document_loader: tuple[bytes, np.ndarray], tmp_path: Path
) -> None:
    content, images = document_loader
    request, files = upload(tmp_path, MODELS["document"], dataset=content)
    (inputs,) = open_upload(request, files).network.inputs
    assert inputs.shape == (2, 1, 28, 28)
    normalised = (torch.from_numpy(images) / 255 - 0.1307) / 0.3081
    for sample in inputs[:, 0]:  # the loader shuffles
        assert (normalised - sample).abs().amax((1, 2)).min() < 1e-5


@pytest.mark.slow
def test_the_documents_loader_makes_input_size_unnecessary(
    document_loader: tuple[bytes, np.ndarray], tmp_path: Path
) -> None:
    request, files = upload(tmp_path, MODELS["document"], dataset=document_loader[0], input_size=None)
    assert open_upload(request, files).network.inputs[0].shape == (2, 1, 28, 28)


def read(tmp_path: Path, value: Any, user: ModuleType | None = None, **options: Any) -> Any:
    path = tmp_path / "train_loader.pth"
    torch.save(value, path, **options)
    return next(open_batches(path, user or ModuleType("model"), file=path.name, seed=0))


def test_samples_come_in_order_when_the_loader_does_not_shuffle(tmp_path: Path) -> None:
    images, labels = read(tmp_path, DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4))
    assert torch.equal(images, IMAGES)
    assert labels.tolist() == [3, 1, 4, 1]


def test_the_same_seed_shuffles_alike(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(IMAGES), batch_size=4, shuffle=True)
    torch.manual_seed(1)
    first = read(tmp_path, loader)
    torch.manual_seed(2)
    assert torch.equal(first[0], read(tmp_path, loader)[0])


def test_a_loader_of_before_torch_1_6_opens(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(IMAGES), batch_size=4, num_workers=2)
    # What such a loader does not have, and today's iteration asks for.
    for name in ("in_order", "persistent_workers", "pin_memory_device", "prefetch_factor"):
        vars(loader).pop(name, None)
    (images,) = read(tmp_path, loader, _use_new_zipfile_serialization=False)
    assert torch.equal(images, IMAGES)


def test_a_bare_dataset_does_as_well(tmp_path: Path) -> None:
    (images,) = read(tmp_path, TensorDataset(IMAGES))
    assert torch.equal(images, IMAGES[:1])


def test_a_batch_sampler_of_the_users_is_kept(tmp_path: Path) -> None:
    sampler = BatchSampler(SequentialSampler(range(4)), batch_size=3, drop_last=False)
    (images,) = read(tmp_path, DataLoader(TensorDataset(IMAGES), batch_sampler=sampler))
    assert torch.equal(images, IMAGES[:3])


class Stream(IterableDataset[torch.Tensor]):
    """A dataset without length."""

    def __iter__(self) -> Any:
        return iter(IMAGES)


def test_a_stream_is_read_only_as_far_as_needed(tmp_path: Path) -> None:
    assert torch.equal(read(tmp_path, DataLoader(Stream(), batch_size=3)), IMAGES[:3])


OWN_DATASET = """
class Planes(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return torch.full((1, 28, 28), float(index)), 0

    def __len__(self):
        return 4
"""


def test_a_dataset_class_of_the_script_is_looked_up_in_the_class_file(tmp_path: Path) -> None:
    script = ModuleType("__main__")
    exec(NET + OWN_DATASET, vars(script))
    content = io.BytesIO()
    # The user's script is the main module while it saves.
    main, sys.modules["__main__"] = sys.modules["__main__"], script
    try:
        torch.save(DataLoader(vars(script)["Planes"]()), content)
    finally:
        sys.modules["__main__"] = main
    model = Model(source=NET + OWN_DATASET, name="Net", input_size=(1, 28, 28))
    request, files = upload(tmp_path, model, dataset=content.getvalue())
    (inputs,) = open_upload(request, files).network.inputs
    assert inputs[:, 0, 0, 0].tolist() == [0, 1]
    assert not hasattr(main, "Planes")


TWO_INPUTS = """
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 8), nn.Linear(5, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, left, right, scale=1.0):
        return self.out(self.left(left) + self.right(right)) * scale
"""


@pytest.mark.parametrize(
    "batch",
    [
        TensorDataset(torch.ones(4, 3), torch.zeros(4, 5), LABELS),
        [{"right": torch.zeros(5), "label": 1, "left": torch.ones(3)}] * 4,
        [((torch.ones(3), torch.zeros(5)), 1)] * 4,
    ],
    ids=["in order", "by name", "nested"],
)
def test_a_model_of_two_inputs_gets_them_from_the_sample(batch: Any, tmp_path: Path) -> None:
    model = Model(source=TWO_INPUTS, name="Two", input_size=(3,), file="two.py")
    request, files = upload(tmp_path, model, dataset=DataLoader(batch, batch_size=4), input_size=None)
    left, right = open_upload(request, files).network.inputs
    assert torch.equal(left, torch.ones(2, 3))
    assert torch.equal(right, torch.zeros(2, 5))


def test_samples_take_the_type_of_the_model(tmp_path: Path) -> None:
    dataset = DataLoader(TensorDataset(torch.ones(4, 6, dtype=torch.float32)))
    request, files = upload(tmp_path, MODELS["double"], dataset=dataset)
    assert open_upload(request, files).network.inputs[0].dtype == torch.float64


def test_a_model_of_words_gets_whole_numbers(tmp_path: Path) -> None:
    request, files = upload(tmp_path, Model(source=WORDS, name="Words", input_size=(7,), file="words.py"))
    network = open_upload(request, files).network
    assert network.inputs[0].dtype == torch.int64
    assert "whole numbers" in network.notes[0]


def test_random_inputs_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    request, files = upload(tmp_path, MODELS["document"])
    first, second = (open_upload(request, files).network.inputs[0] for _ in range(2))
    assert torch.equal(first, second)
