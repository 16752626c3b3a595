"""api-hub-tutorial.md, walked through with curl as printed: keys, a prefix, a string for a status."""

from __future__ import annotations

import pytest

from tests.documents.printed import API_HUB_PYTORCH, API_HUB_TENSORFLOW, PRINTED_TABLE, Key
from tests.documents.pruned_h5 import check_documents_model
from tests.documents.reader import Reader

pytestmark = pytest.mark.slow

#: The lines of the document, and what tells us the outcome.
LOAD_PAIR = """
import torch
use_cuda = False
device = torch.device("cuda" if use_cuda else "cpu")

model, _  = torch.load('tmpqpj73q22.pt', map_location=torch.device(device))
model.eval()
print(sum(p.numel() for p in model.parameters()), *model(torch.zeros(1, 1, 28, 28)).shape)
print(type(model).__module__, type(model).__name__, sorted(_)[:3])
"""

#: The document's torch is 1.8.1, whose torch.load opened every pickle; today's does when it is told so.
AS_IN_TORCH_1_8 = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


def walk_pytorch(reader: Reader) -> None:
    txid = reader.submit(API_HUB_PYTORCH)
    status = reader.poll(API_HUB_PYTORCH, txid)
    assert status["status"] == "0", status
    assert status["filename"].endswith(".pt")
    assert status["message"].splitlines() == PRINTED_TABLE.splitlines()
    assert reader.shell(API_HUB_PYTORCH.download, txid=txid) == ""
    outcome, kind = reader.python(LOAD_PAIR, **AS_IN_TORCH_1_8).splitlines()
    assert outcome.split() == ["596042", "1", "10"]
    assert kind.startswith("model Net ")


def walk_tensorflow(reader: Reader) -> None:
    txid = reader.submit(API_HUB_TENSORFLOW)
    status = reader.poll(API_HUB_TENSORFLOW, txid)
    assert status["status"] == "0", status
    assert status["filename"].endswith(".h5")
    assert reader.shell(API_HUB_TENSORFLOW.download, txid=txid) == ""
    check_documents_model(reader.folder / "tmp7d8tkpfs.h5", reader.folder / "mnist_base.h5")


def test_the_pytorch_walk_without_keys(reader: Reader) -> None:
    walk_pytorch(reader)


def test_the_tensorflow_walk_without_keys(reader: Reader) -> None:
    walk_tensorflow(reader)


def test_the_pytorch_walk_with_a_key(reader_with_key: Reader) -> None:
    walk_pytorch(reader_with_key)


def test_the_tensorflow_walk_with_a_key(reader_with_key: Reader) -> None:
    walk_tensorflow(reader_with_key)


def test_every_printed_call_is_refused_without_a_key(reader_with_key: Reader) -> None:
    stranger = Reader(folder=reader_with_key.folder, service=reader_with_key.service, key=Key())
    refused = stranger.answer(API_HUB_TENSORFLOW.prune)
    assert (refused["txid"], refused["code"]) == ("N/A", "key_invalid")
    assert stranger.answer(API_HUB_TENSORFLOW.status)["code"] == "key_invalid"
    unfetched = API_HUB_TENSORFLOW.download.replace("--output 'tmp7d8tkpfs.h5'", "")
    assert stranger.answer(unfetched.rstrip().removesuffix("\\"))["code"] == "key_invalid"


def test_the_download_of_a_transaction_that_is_not_there(reader: Reader) -> None:
    reader.shell(API_HUB_TENSORFLOW.download)
    said = (reader.folder / "tmp7d8tkpfs.h5").read_text()
    assert said.startswith('{"status":-1,"message":"No transaction submitted for txid"')


def test_the_template_with_a_fields_mask(reader: Reader) -> None:
    masked = API_HUB_TENSORFLOW.prune.replace("--header 'accept", "--header 'X-Fields: txid' --header 'accept")
    assert list(reader.answer(masked)) == ["txid"]
