"""API keys: who holds one is who he says, and the file that keeps them gives none away."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice.errors import KeyInvalid, ParameterInvalid
from coppice.jobs.keys import Keys
from coppice.settings import Settings


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(Settings(data_dir=tmp_path))


def test_a_key_tells_its_client_to_another_process_too(keys: Keys, tmp_path: Path) -> None:
    ann, bob = keys.create("ann"), keys.create("bob")
    elsewhere = Keys(Settings(data_dir=tmp_path))
    assert (elsewhere.verify(*ann), elsewhere.verify(*bob)) == ("ann", "bob")


def test_nothing_but_the_whole_key_will_do(keys: Keys) -> None:
    (ann, secret), (bob, other) = keys.create("ann"), keys.create("bob")
    for client_id, tried in [
        (ann, other),
        (bob, secret),
        (ann, ""),
        (ann, secret[:-1]),
        ("", secret),
        ("", ""),
        (secret, ann),
    ]:
        with pytest.raises(KeyInvalid):
            keys.verify(client_id, tried)


def test_a_revoked_key_is_worth_nothing_at_once(keys: Keys, tmp_path: Path) -> None:
    serving = Keys(Settings(data_dir=tmp_path))
    old, new = keys.create("ann"), keys.create("ann")
    assert serving.verify(*old) == serving.verify(*new) == "ann"
    keys.revoke(old[0])
    with pytest.raises(KeyInvalid):
        serving.verify(*old)
    assert serving.verify(*new) == "ann"
    assert [(key.name, key.revoked is None) for key in keys.list()] == [("ann", False), ("ann", True)]
    for unknown in (old[0], "nobody"):
        with pytest.raises(KeyInvalid, match="keys list"):
            keys.revoke(unknown)


def test_no_secret_is_in_the_files(keys: Keys, tmp_path: Path) -> None:
    client_id, secret = keys.create("ann")
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert client_id.encode() in files
    assert secret.encode() not in files
    assert bytes.fromhex(secret) not in files


@pytest.mark.parametrize("name", ["anonymous", "", "  ", "a\nb", "x" * 101])
def test_a_name_that_could_mislead_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(ParameterInvalid):
        keys.create(name)
    assert keys.list() == ()
