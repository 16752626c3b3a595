"""The calls of the two documents, letter for letter; `fill` alone changes them, as a reader has to."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The addresses in front of the documents' paths.
HOSTS = ("https://edge-api.sl.cloud9.ibm.com:443", "https://api.ibm.com")
_TXID = re.compile(r"(?<=txid=)[0-9a-f-]{36}")
#: The first document writes `;type=` without a type, which curl itself refuses, whatever the server is.
_NO_TYPE = ';type="'


@dataclass(frozen=True, kw_only=True)
class Calls:
    """One walk: send, ask, fetch."""

    prune: str
    status: str
    download: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """What stands in the place of CLIENT_ID and CLIENT_SECRET."""

    client_id: str = "CLIENT_ID"
    client_secret: str = "CLIENT_SECRET"


def fill(call: str, *, url: str, key: Key, txid: str | None = None) -> str:
    """The call with the reader's own host, port, key and transaction."""
    for host in HOSTS:
        call = call.replace(host, url)
    call = call.replace(_NO_TYPE, '"')
    call = call.replace("CLIENT_ID", key.client_id).replace("CLIENT_SECRET", key.client_secret)
    return call if txid is None else _TXID.sub(txid, call)


_STARTED_STATUS = (
    'curl -k -X GET "https://edge-api.sl.cloud9.ibm.com:443/api/status/'
    '?txid=5c4df5b8-fc85-11eb-9648-c858c0f177a9" -H "accept: application/json"'
)
_STARTED_DOWNLOAD = (
    'curl -k -X GET "https://edge-api.sl.cloud9.ibm.com:443/api/download'
    '?txid=5c4df5b8-fc85-11eb-9648-c858c0f177a9" -H "accept: application/json"'
)

GETTING_STARTED_TENSORFLOW = Calls(
    prune='curl -X POST "https://edge-api.sl.cloud9.ibm.com:443/api/tf_prune?percent=0.4" '
    '-H "accept: application/json" -H "Content-Type: multipart/form-data" -F "model=@mnist_base.h5;type=" ',
    status=_STARTED_STATUS,
    download=_STARTED_DOWNLOAD,
)

GETTING_STARTED_PYTORCH = Calls(
    prune='curl -X POST "https://edge-api.sl.cloud9.ibm.com:443/api/pt_prune?percent=0.4&ommitted=fc1%2Cfc2'
    '&input_size=1%2C28%2C28&model_name=Net" -H "accept: application/json" -H "Content-Type: multipart/form-data" '
    '-F "weights=@mnist_cnn.pth;type=" -F "dataset=@train_loader.pth;type=" '
    '-F "class_def=@model.py;type=text/x-python-script"',
    status=_STARTED_STATUS,
    download=_STARTED_DOWNLOAD,
)

API_HUB_TENSORFLOW = Calls(
    prune=r"""curl --request POST \
  --url 'https://api.ibm.com/edgeai/run/api/tf_prune?percent=0.4&ommitted=' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json' \
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \
  --form model=@mnist_base.h5
""",
    status=r"""curl --request GET \
  --url 'https://api.ibm.com/edgeai/run/api/status/?txid=cf06e766-2d20-11ec-931e-0242ac170002' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json'
""",
    download=r"""curl --request GET \
  --url 'https://api.ibm.com/edgeai/run/api/download?txid=c5727f10-fa19-11eb-9294-acde48001122' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json' \
  --output 'tmp7d8tkpfs.h5'
""",
)

API_HUB_PYTORCH = Calls(
    prune=r"""curl --request POST \
  --url 'https://api.ibm.com/edgeai/run/api/pt_prune?percent=0.5&ommitted=fc1,fc2&input_size=1,28,28&model_name=Net' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json' \
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \
  --form weights=@mnist_cnn.pth \
  --form dataset=@train_loader.pth \
  --form class_def=@model.py
""",
    status=r"""curl --request GET \
  --url 'https://api.ibm.com/edgeai/run/api/status/?txid=bbab7210-2d1e-11ec-917d-0242ac170002' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json'
""",
    download=r"""curl --request GET \
  --url 'https://api.ibm.com/edgeai/run/api/download?txid=bbab7210-2d1e-11ec-917d-0242ac170002' \
  --header 'X-IBM-Client-Id: CLIENT_ID' \
  --header 'X-IBM-Client-Secret: CLIENT_SECRET' \
  --header 'accept: application/json' \
  --output 'tmpqpj73q22.pt'
""",
)

#: The status message of the tutorial, which prints it as Python shows bytes.
PRINTED_TABLE = """\
----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Conv2d-1           [-1, 16, 26, 26]             160
            Conv2d-2           [-1, 32, 24, 24]           4,640
           Dropout-3           [-1, 32, 12, 12]               0
            Linear-4                  [-1, 128]         589,952
           Dropout-5                  [-1, 128]               0
            Linear-6                   [-1, 10]           1,290
================================================================
Total params: 596,042
Trainable params: 596,042
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.26
Params size (MB): 2.27
Estimated Total Size (MB): 2.54
----------------------------------------------------------------
"""
