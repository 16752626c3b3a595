"""The files that a reader of the documents has, and the services that the documents were written for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision import datasets, transforms

from coppice.jobs.keys import Keys
from coppice.settings import Settings
from examples.demo import digits
from tests.documents.printed import Key
from tests.documents.reader import Reader
from tests.formats.models import NET, built
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential
from tests.serving import Service, serving


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents' programs leave behind: the model of each framework, its loader, its class file."""
    folder = tmp_path_factory.mktemp("reader")
    data = tmp_path_factory.mktemp("mnist")
    digits.write(data)
    # From here to the end as the documents save it.
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    dataset1 = datasets.MNIST(data, train=True, download=True, transform=transform)
    train_loader = torch.utils.data.DataLoader(dataset1, batch_size=64, num_workers=1, pin_memory=True, shuffle=True)
    torch.save(train_loader, folder / "train_loader.pth")
    torch.save(built(NET, "Net").state_dict(), folder / "mnist_cnn.pth")
    (folder / "model.py").write_text(NET)
    (folder / "mnist_base.h5").write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))
    return folder


@pytest.fixture(scope="session")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As the first document has it: nobody is asked for a key."""
    with serving(Settings(data_dir=tmp_path_factory.mktemp("open") / "data", port=0)) as service:
        yield service


@pytest.fixture(scope="session")
def keyed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As the second document has it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("keyed") / "data", port=0, keys_required=True)
    with serving(settings) as service:
        yield service


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    """The files in a folder of this test's own, where the downloads go."""
    return shutil.copytree(files, tmp_path / "reader")


@pytest.fixture
def reader(folder: Path, open_service: Service) -> Reader:
    return Reader(folder=folder, service=open_service)


@pytest.fixture
def reader_with_key(folder: Path, keyed_service: Service) -> Reader:
    client_id, secret = Keys(keyed_service.settings).create(f"reader-{os.urandom(4).hex()}")
    return Reader(folder=folder, service=keyed_service, key=Key(client_id=client_id, client_secret=secret))
