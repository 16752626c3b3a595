"""Every curl command of the two documents, as printed, by the real curl against the real service.

Only what the documents leave to the reader is replaced: the transaction id, and the hosts, which curl is told to
find here. In the first document's uploads `;type=` without a type is left out: curl itself refuses that
("option -F: is badly used here"), whatever the server is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.records.job import JobState
from coppice.records.request import Framework, Part
from coppice.settings import Settings
from tests.http.process import api_process, shell
from tests.jobs.job_processes import FINISH, end_of, worker

pytestmark = pytest.mark.slow  # real processes

FIRST_TF = """
    curl -X POST "https://edge-api.sl.cloud9.ibm.com:443/api/tf_prune?percent=0.4" -H "accept: application/json" -H "Content-Type: multipart/form-data" -F "model=@mnist_base.h5"
"""  # noqa: E501
FIRST_PT = """
    curl -X POST "https://edge-api.sl.cloud9.ibm.com:443/api/pt_prune?percent=0.4&ommitted=fc1%2Cfc2&input_size=1%2C28%2C28&model_name=Net" -H "accept: application/json" -H "Content-Type: multipart/form-data" -F "weights=@mnist_cnn.pth" -F "dataset=@train_loader.pth" -F "class_def=@model.py;type=text/x-python-script"
"""  # noqa: E501
FIRST_STATUS = """
     curl -k -X GET "https://edge-api.sl.cloud9.ibm.com:443/api/status/?txid=TXID" -H "accept: application/json"
"""
FIRST_DOWNLOAD = """
    curl -k -X GET "https://edge-api.sl.cloud9.ibm.com:443/api/download?txid=TXID" -H "accept: application/json"
"""
HUB_TF = """
curl --request POST \\
  --url 'https://api.ibm.com/edgeai/run/api/tf_prune?percent=0.4&ommitted=' \\
  --header 'X-IBM-Client-Id: CLIENT_ID' \\
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \\
  --header 'accept: application/json' \\
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \\
  --form model=@mnist_base.h5
"""
HUB_TF_MASKED = """
curl --request POST \\
  --url 'https://api.ibm.com/edgeai/run/api/tf_prune?percent=0.4&ommitted=conv2d' \\
  --header 'X-Fields: txid' \\
  --header 'X-IBM-Client-Id: CLIENT_ID' \\
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \\
  --header 'accept: application/json' \\
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \\
  --form model=@mnist_base.h5
"""
HUB_PT = """
curl --request POST \\
  --url 'https://api.ibm.com/edgeai/run/api/pt_prune?percent=0.5&ommitted=fc1,fc2&input_size=1,28,28&model_name=Net' \\
  --header 'X-IBM-Client-Id: CLIENT_ID' \\
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \\
  --header 'accept: application/json' \\
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \\
  --form weights=@mnist_cnn.pth \\
  --form dataset=@train_loader.pth \\
  --form class_def=@model.py

"""
HUB_STATUS = """
curl --request GET \\
  --url 'https://api.ibm.com/edgeai/run/api/status/?txid=TXID' \\
  --header 'X-IBM-Client-Id: CLIENT_ID' \\
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \\
  --header 'accept: application/json'
"""
HUB_STATUS_MASKED = HUB_STATUS.replace(
    "  --header 'X-IBM-Client-Id", "  --header 'X-Fields: status' \\\n  --header 'X-IBM-Client-Id"
)
HUB_DOWNLOAD = """
curl --request GET \\
  --url 'https://api.ibm.com/edgeai/run/api/download?txid=TXID' \\
  --header 'X-IBM-Client-Id: CLIENT_ID' \\
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \\
  --header 'accept: application/json' \\
  --output 'tmp7d8tkpfs.h5'
"""

UPLOADED = "Successfully submitted transaction."
NOT_SUBMITTED = {"status": -1, "message": "No transaction submitted for txid"}


class Reader:
    """Somebody with a document, a shell, and the document's files in the current folder."""

    def __init__(self, settings: Settings, folder: Path, port: int, key: tuple[str, str]) -> None:
        self.settings = settings
        self.folder = folder
        self._key = key
        trusted = settings.data_dir / "tls" / "cert.pem"
        # The documents' hosts lead here; their names are not the certificate's, so `-k` is given for all.
        (folder / ".curlrc").write_text(
            f'insecure\nsilent\ncacert = "{trusted}"\n'
            f'connect-to = "edge-api.sl.cloud9.ibm.com:443:127.0.0.1:{port}"\n'
            f'connect-to = "api.ibm.com:443:127.0.0.1:{port}"\n'
        )
        for name, content in {
            "mnist_base.h5": FINISH,
            "mnist_cnn.pth": "the state dict",
            "train_loader.pth": "the loader",
            "model.py": "class Net: pass",
        }.items():
            (folder / name).write_text(content)

    def types(self, command: str, txid: str = "TXID") -> str:
        """What curl prints for a command of a document."""
        client_id, secret = self._key
        command = command.replace("TXID", txid).replace("CLIENT_ID", client_id).replace("CLIENT_SECRET", secret)
        return shell(command, folder=self.folder)

    def reads(self, command: str, txid: str = "TXID") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.types(command, txid))
        return answer


@contextmanager
def reading(folder: Path, key: tuple[str, str] = ("CLIENT_ID", "CLIENT_SECRET")) -> Iterator[Reader]:
    """A reader of either document, and a service of their own."""
    settings = Settings(data_dir=folder / "data", port=0, warm=0)
    with api_process(settings) as server:
        yield Reader(settings, folder, server.port, key)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


def request_of(reader: Reader, answer: dict[str, Any], client: str = "anonymous") -> Any:
    assert answer["message"] == UPLOADED
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["txid"])
    return Desk(reader.settings).job(answer["txid"], client).request


@pytest.mark.parametrize("command", [FIRST_TF, HUB_TF])
def test_a_keras_model_is_sent(reader: Reader, command: str) -> None:
    request = request_of(reader, reader.reads(command))
    assert (request.framework, request.percent, request.omit) == (Framework.KERAS, 0.4, ())
    assert request.files == {Part.MODEL: "mnist_base.h5"}


@pytest.mark.parametrize(("command", "percent"), [(FIRST_PT, 0.4), (HUB_PT, 0.5)])
def test_a_pytorch_model_is_sent(reader: Reader, command: str, percent: float) -> None:
    request = request_of(reader, reader.reads(command))
    assert (request.framework, request.percent, request.omit) == (Framework.PYTORCH, percent, ("fc1", "fc2"))
    assert (request.input_size, request.model_name) == ((1, 28, 28), "Net")
    assert request.files == {
        Part.WEIGHTS: "mnist_cnn.pth",
        Part.DATASET: "train_loader.pth",
        Part.CLASS_DEF: "model.py",
    }


def test_a_fields_mask_is_sent_with_the_model_and_with_the_question(reader: Reader) -> None:
    answer = reader.reads(HUB_TF_MASKED)
    assert list(answer) == ["txid"]
    assert reader.reads(HUB_STATUS_MASKED, answer["txid"]) == {"status": "1"}


def test_an_unknown_transaction_is_answered_as_the_documents_show(reader: Reader) -> None:
    first, download = reader.reads(FIRST_STATUS), reader.reads(FIRST_DOWNLOAD)
    assert NOT_SUBMITTED.items() <= first.items()
    assert NOT_SUBMITTED.items() <= download.items()
    assert reader.reads(HUB_STATUS)["status"] == "-1"
    reader.types(HUB_DOWNLOAD)
    assert NOT_SUBMITTED.items() <= json.loads((reader.folder / "tmp7d8tkpfs.h5").read_text()).items()


@pytest.mark.parametrize(
    ("send", "status", "done"), [(FIRST_TF, FIRST_STATUS, 0), (HUB_TF, HUB_STATUS, "0")], ids=["first", "hub"]
)
def test_a_walk_through_a_document_ends_with_the_pruned_file(
    tmp_path: Path, send: str, status: str, done: object
) -> None:
    with reading(tmp_path) as reader:
        txid = reader.reads(send)["txid"]
        waiting = reader.reads(status, txid)
        assert (str(waiting["status"]), "filename" in waiting) == ("1", False)
        with worker(reader.settings):
            assert end_of(Desk(reader.settings), txid, client="anonymous").state is JobState.DONE
        finished = reader.reads(status, txid)
        assert finished == {"status": done, "message": "one layer", "filename": finished["filename"]}
        assert re.fullmatch(r"tmp[a-z0-9_]{8}\.h5", finished["filename"])  # as the documents' temp file names
        assert reader.types(FIRST_DOWNLOAD, txid) == "pruned"
        reader.types(HUB_DOWNLOAD, txid)
        assert (reader.folder / "tmp7d8tkpfs.h5").read_text() == "pruned"
        shell(f"curl -OJ 'https://api.ibm.com/api/download?txid={txid}'", folder=reader.folder)
        assert (reader.folder / finished["filename"]).read_text() == "pruned"


def test_the_second_documents_keys_are_checked_where_keys_are_in_force(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, keys_required=True)
    key = Keys(settings).create("ann")
    with api_process(settings) as server:
        holder, stranger = (
            Reader(settings, tmp_path, server.port, pair) for pair in (key, ("CLIENT_ID", "CLIENT_SECRET"))
        )
        answer = holder.reads(HUB_TF)
        assert request_of(holder, answer, "ann").percent == 0.4
        assert holder.reads(HUB_STATUS, answer["txid"])["status"] == "1"
        refused = stranger.reads(HUB_TF)
        assert (refused["txid"], refused["code"]) == ("N/A", "key_invalid")
        assert stranger.reads(HUB_STATUS, answer["txid"])["code"] == "key_invalid"
