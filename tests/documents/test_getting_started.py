"""getting-started.md, walked through with curl as printed: no keys, host root, numbers for a status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.documents.printed import GETTING_STARTED_PYTORCH, GETTING_STARTED_TENSORFLOW
from tests.documents.pruned_h5 import check_documents_model
from tests.documents.reader import Reader

pytestmark = pytest.mark.slow

#: Conv 19 and 38, since the nearest whole number of channels goes; fc1 keeps its 128 and loses inputs.
PYTORCH_PARAMETERS = (19 * 9 + 19) + (38 * 19 * 9 + 38) + (38 * 144 * 128 + 128) + (128 * 10 + 10)

#: The lines of the document, between its own `import` lines and what tells us the outcome.
LOAD_STATE_DICT = """
import torch
from {module} import Net
use_cuda = False
device = torch.device("cuda" if use_cuda else "cpu")

model = Net().to(device)
model.load_state_dict(torch.load('tmpbev7r2ej.pt', map_location=torch.device(device)))
model.eval()
print(sum(p.numel() for p in model.parameters()), *model(torch.zeros(1, 1, 28, 28)).shape)
"""


def test_the_tensorflow_walk(reader: Reader) -> None:
    txid = reader.submit(GETTING_STARTED_TENSORFLOW)
    status = reader.poll(GETTING_STARTED_TENSORFLOW, txid)
    assert status["status"] == 0, status
    assert status["filename"].endswith(".h5")
    assert "Total params: 32,457" in status["message"]
    reader.shell(GETTING_STARTED_TENSORFLOW.download, txid=txid, then="> tmps34cdcmd.h5")
    check_documents_model(reader.folder / "tmps34cdcmd.h5", reader.folder / "mnist_base.h5")


def test_the_pytorch_walk(reader: Reader) -> None:
    txid = reader.submit(GETTING_STARTED_PYTORCH)
    status = reader.poll(GETTING_STARTED_PYTORCH, txid)
    assert status["status"] == 0, status
    assert status["filename"].endswith(".pt")
    assert f"Total params: {PYTORCH_PARAMETERS:,}" in status["message"]
    wanted = GETTING_STARTED_PYTORCH.download.replace('" -H', '&artifact={}" -H')
    reader.shell(wanted.format("state_dict"), txid=txid, then="> tmpbev7r2ej.pt")
    reader.shell(wanted.format("class_def"), txid=txid, then="--remote-name --remote-header-name")
    (class_file,) = set(reader.folder.glob("*.py")) - {reader.folder / "model.py"}
    printed = reader.python(LOAD_STATE_DICT.format(module=class_file.stem))
    assert printed.split() == [str(PYTORCH_PARAMETERS), "1", "10"]


def test_the_download_of_a_transaction_that_is_not_there(reader: Reader) -> None:
    answer = reader.answer(GETTING_STARTED_PYTORCH.download)
    assert (answer["status"], answer["message"]) == (-1, "No transaction submitted for txid")


def test_the_status_of_a_transaction_that_is_not_there(reader: Reader) -> None:
    answer = reader.answer(GETTING_STARTED_PYTORCH.status)
    assert (answer["status"], answer["message"]) == (-1, "No transaction submitted for txid")


def test_an_upload_that_fails_has_no_transaction(reader: Reader, folder: Path) -> None:
    (folder / "mnist_base.h5").write_bytes(b"")
    answer = reader.answer(GETTING_STARTED_TENSORFLOW.prune)
    assert answer["txid"] == "N/A"
    assert "empty" in answer["message"], json.dumps(answer)
