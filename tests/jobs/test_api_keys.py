"""API keys: who holds one is who he says, and the file that keeps them gives none away."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.errors import KeyInvalid, ParameterInvalid
from coppice.jobs import keys as keys_module
from coppice.jobs.keys import Keys, KeyState
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


class Now(datetime):
    """A clock that is a day ahead."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # all that is asked of it
        del tz
        return datetime.now(UTC) + timedelta(days=1)


def test_an_expired_key_is_worth_nothing_and_says_so_to_its_holder_only(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, secret = keys.create("ann", lifetime=timedelta(hours=23))
    lasting = keys.create("bob")
    assert keys.verify(client_id, secret) == "ann"
    assert [key.state for key in keys.list()] == [KeyState.IN_FORCE, KeyState.IN_FORCE]
    monkeypatch.setattr(keys_module, "datetime", Now)
    with pytest.raises(KeyInvalid, match="expired on"):
        keys.verify(client_id, secret)
    with pytest.raises(KeyInvalid) as refused:
        keys.verify(client_id, "0" * 64)
    assert "expired" not in refused.value.message
    assert keys.verify(*lasting) == "bob"
    assert [key.state for key in keys.list()] == [KeyState.EXPIRED, KeyState.IN_FORCE]
    with pytest.raises(KeyInvalid):
        keys.rotate(client_id, grace=timedelta(days=1))


def test_a_rotated_key_lasts_as_long_as_the_grace(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    old = keys.create("ann", lifetime=timedelta(days=90))
    new = keys.rotate(old[0], grace=timedelta(hours=23))
    assert keys.verify(*old) == keys.verify(*new) == "ann"
    created = {key.client_id: key for key in keys.list()}
    made = created[new[0]]
    assert made.expires is not None
    assert made.expires - made.created == timedelta(days=90)  # as the old one was given
    # A grace doesn't make a key live longer than it was to.
    short = keys.create("bob", lifetime=timedelta(minutes=1))
    keys.rotate(short[0], grace=timedelta(days=365))
    (expires,) = (key.expires for key in keys.list() if key.client_id == short[0])
    assert expires is not None
    assert expires < datetime.now(UTC) + timedelta(minutes=2)
    monkeypatch.setattr(keys_module, "datetime", Now)
    with pytest.raises(KeyInvalid):
        keys.verify(*old)
    assert keys.verify(*new) == "ann"


def test_secrets_are_compared_in_constant_time_whether_or_not_the_id_is_known(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be said without a clock: each way to a refusal goes through one comparison of two hashes."""
    compared, plainly = list[tuple[int, int]](), hmac.compare_digest

    def compare(left: str, right: str) -> bool:
        compared.append((len(left), len(right)))
        return plainly(left, right)

    client_id, secret = keys.create("ann", lifetime=timedelta(hours=1))
    revoked, other = keys.create("bob")
    keys.revoke(revoked)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    monkeypatch.setattr(keys_module, "datetime", Now)
    for tried in ((client_id, secret), (client_id, "x"), ("nobody", secret), (revoked, other)):
        with pytest.raises(KeyInvalid):
            keys.verify(*tried)
    assert compared == [(64, 64)] * 4


def test_the_commands_make_rotate_list_and_revoke(tmp_path: Path) -> None:
    def run(*arguments: str, code: int = 0) -> dict[str, object]:
        done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path), "--json"])
        assert done.exit_code == code, done.output
        found: dict[str, object] = json.loads(done.output)
        return found

    made = run("create", "ann", "--expires", "90d")
    rotated = run("rotate", str(made["client_id"]), "--grace", "0s")
    run("revoke", str(rotated["client_id"]))
    run("create", "bob")
    listed = run("list")["keys"]
    assert isinstance(listed, list)
    assert [(key["name"], key["state"]) for key in listed] == [
        ("ann", "expired"),
        ("ann", "revoked"),
        ("bob", "in force"),
    ]
    assert str(made["client_secret"]) not in json.dumps(listed)
    assert str(run("webhook-secret", "bob")["webhook_secret"]).startswith("whsec_")
    for wrong in ("3w", "90", "-1d", "d", "1d1d", "99999999d"):
        assert run("create", "cy", "--expires", wrong, code=2)["field"] == "--expires"
    assert run("rotate", "nobody", code=7)["code"] == "key_invalid"
    shown = CliRunner().invoke(app, ["audit", "--client", "ann", "--since", "1h", "--data", str(tmp_path)])
    assert [line.split()[5] for line in shown.output.splitlines()] == ["key_created", "key_rotated", "key_revoked"]
