"""The names of stored files, built from checked pieces only.

>>> upload_key("7d2c7a9e-93d1-4b0c-a7a8-3f6f0d2a9b11", Part.MODEL, "lenet.h5")
'uploads/7d2c7a9e-93d1-4b0c-a7a8-3f6f0d2a9b11/model/lenet.h5'
>>> safe_name("C:\\\\models\\\\my net (1).py")
'my_net_1_.py'
"""

from __future__ import annotations

import re

from coppice.records.request import Part

#: Letters of any alphabet are kept: a class file's name is the module that its pickles refer to.
_NAME = re.compile(r"(?!\.)[\w.-]+")
#: File systems count bytes; 255 is the limit of all common ones, and the store adds a suffix while it writes.
_MAX_NAME_BYTES = 200
_TXID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def upload_key(txid: str, part: Part, name: str) -> str:
    """Key of one uploaded file."""
    return f"uploads/{_checked_txid(txid)}/{part.value}/{_checked_name(name)}"


def result_key(txid: str, attempt: int, name: str) -> str:
    """Key of one file of a result. The attempt makes it a key that no other run of the job writes."""
    return f"results/{_checked_txid(txid)}/{attempt:d}/{_checked_name(name)}"


def job_prefixes(txid: str) -> tuple[str, str]:
    """The prefixes of everything stored for a job: its uploads, its results."""
    return f"uploads/{_checked_txid(txid)}", f"results/{_checked_txid(txid)}"


def folder_of(key: str) -> tuple[str, str]:
    """The prefix that is deleted as a whole with a file, an attempt's or a transaction's, and the transaction."""
    pieces = key.split("/")
    depth = 3 if pieces[0] == "results" and len(pieces) > 3 else 2
    return "/".join(pieces[:depth]), "".join(pieces[1:2])


def is_txid(text: str) -> bool:
    """Whether this is a transaction id, and so a piece of a key."""
    return _TXID.fullmatch(text) is not None


def safe_name(text: str) -> str:
    """The nearest name that a key may hold to the one that a user gave; `file` when nothing of it is left."""
    last = re.split(r"[/\\]", text)[-1]
    cleaned = re.sub(r"[^\w.-]+", "_", last).lstrip(".")
    stem, dot, suffix = cleaned.rpartition(".")
    while len(cleaned.encode()) > _MAX_NAME_BYTES:
        # The suffix says the format, so the stem gives way; a suffix that is itself too long is none.
        stem, dot, suffix = (stem[:-1], dot, suffix) if stem and len(suffix) < 20 else (cleaned[:50], "", "")
        cleaned = f"{stem}{dot}{suffix}"
    return cleaned or "file"


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"{name!r} is not a name that a key may hold; use safe_name first")
    return name


def _checked_txid(txid: str) -> str:
    if not is_txid(txid):
        raise ValueError(f"{txid!r} is not a transaction id")
    return txid
