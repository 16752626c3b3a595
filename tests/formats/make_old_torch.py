"""Writes the files of tests/formats/old_torch, by hand, in a Python that has the old torch: nothing of ours runs here.

python3.7 -m venv old && old/bin/pip install torch==1.0.0 torchvision==0.2.1 "numpy<1.20" "pillow<7" six
old/bin/python tests/formats/make_old_torch.py tests/formats/old_torch/1.0.0
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision import datasets, transforms

OUT = sys.argv[1]


class Old(nn.Module):
    """The model of tests/formats/test_old_torch.py."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        """As any of them."""
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def write_weights() -> None:
    """A state dict, a checkpoint as scripts of the time wrote it, and what the model of the state dict gives."""
    torch.manual_seed(3)
    model = Old()
    model(torch.randn(8, 1, 8, 8))
    model.eval()
    x = torch.randn(2, 1, 8, 8)
    torch.save(model.state_dict(), OUT + "/state.pth")
    torch.save({"x": x, "y": model(x).detach()}, OUT + "/expected.pth")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(x).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "arch": "old",
        "state_dict": nn.DataParallel(model).state_dict(),
        "best_acc1": torch.tensor(0.9),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
    }
    torch.save(checkpoint, OUT + "/checkpoint.pth")


def write_loaders() -> None:
    """Loaders over each kind of sampler, over old transforms, and over MNIST without its files."""
    images = torch.arange(6.0)[:, None, None, None].expand(6, 1, 8, 8).contiguous()
    pairs = TensorDataset(images, torch.arange(6))
    loaders = {
        "shuffled": DataLoader(pairs, batch_size=4, shuffle=True, num_workers=2, pin_memory=True),
        "subset": DataLoader(pairs, batch_size=4, sampler=SubsetRandomSampler([1, 2, 3]), num_workers=1),
        "weighted": DataLoader(pairs, batch_size=4, sampler=WeightedRandomSampler([1.0] * 6, 6)),
        "batches": DataLoader(pairs, batch_sampler=BatchSampler(RandomSampler(pairs), 3, False)),
        "transforms": DataLoader(fake_pictures(), batch_size=2),
        "mnist": DataLoader(mnist(), batch_size=4, shuffle=True, num_workers=1, pin_memory=True),
    }
    for name, loader in loaders.items():
        torch.save(loader, OUT + "/" + name + ".pth")


def fake_pictures() -> Any:
    """Pictures through the usual transforms."""
    steps = [
        transforms.Resize(8),
        transforms.RandomCrop(8, padding=1),
        transforms.RandomHorizontalFlip(),
        transforms.Grayscale(1),
        transforms.ToTensor(),
        transforms.Normalize((0.5,), (0.5,)),
    ]
    return datasets.FakeData(size=6, image_size=(3, 16, 16), num_classes=3, transform=transforms.Compose(steps))


def mnist() -> Any:
    """MNIST as its constructor leaves it; image i is all i."""
    made = datasets.MNIST.__new__(datasets.MNIST)
    made.root, made.train, made.target_transform = "data", True, None
    made.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    data, labels = torch.arange(6, dtype=torch.uint8)[:, None, None].expand(6, 28, 28).contiguous(), torch.arange(6)
    if torchvision.__version__ < "0.2.2":
        made.train_data, made.train_labels = data, labels
    else:
        made.data, made.targets, made.transforms = data, labels, None
    return made


if __name__ == "__main__":
    write_weights()
    write_loaders()
