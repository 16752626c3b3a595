"""Keys are made of checked pieces, whatever a user calls a file."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.records.request import Part
from coppice.storage import job_prefixes, result_key, safe_name, upload_key

TXID = "7d2c7a9e-93d1-4b0c-a7a8-3f6f0d2a9b11"


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("lenet.h5", "lenet.h5"),
        ("C:\\models\\my net (1).py", "my_net_1_.py"),
        ("../../etc/passwd", "passwd"),
        ("modèle.py", "modèle.py"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        ("net.h5\x00.py", "net.h5_.py"),
        ("net#1", "net_1"),
        ("x" * 300 + ".h5", "x" * 197 + ".h5"),
    ],
)
def test_a_users_name_is_kept_as_far_as_it_is_safe(given_name: str, name: str) -> None:
    assert safe_name(given_name) == name


@given(st.text(max_size=400))
def test_every_name_becomes_one_that_a_key_takes(text: str) -> None:
    name = safe_name(text)
    key = upload_key(TXID, Part.MODEL, name)
    assert PurePosixPath(key).parts == ("uploads", TXID, "model", name)
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "a\x00", "net#1", "x" * 201])
def test_an_unsafe_name_makes_no_key(name: str) -> None:
    with pytest.raises(ValueError, match="safe_name"):
        upload_key(TXID, Part.MODEL, name)
    with pytest.raises(ValueError, match="safe_name"):
        result_key(TXID, 1, name)


@pytest.mark.parametrize("txid", ["", "..", "N/A", TXID.upper(), TXID + "\n", "../" + TXID, TXID[:-1]])
def test_only_a_transaction_id_makes_a_key(txid: str) -> None:
    with pytest.raises(ValueError, match="transaction id"):
        upload_key(txid, Part.MODEL, "net.h5")
    with pytest.raises(ValueError, match="transaction id"):
        result_key(txid, 1, "net.h5")
    with pytest.raises(ValueError, match="transaction id"):
        job_prefixes(txid)


def test_each_attempt_has_its_own_keys() -> None:
    assert result_key(TXID, 1, "net.h5") != result_key(TXID, 2, "net.h5")
