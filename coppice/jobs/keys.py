"""API keys: made, rotated, listed, revoked, checked; and what webhooks are signed with.

A key is a client id and a secret; only the secret's hash is kept. Keys of one name are one client, so that a key can
be replaced without losing sight of the jobs sent with the old one. Every check asks the database: a revoked key is
worth nothing from that moment on, in every process.

Not here: the headers that carry a key (`http`), the webhooks themselves (`jobs.webhooks`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from coppice.errors import KeyInvalid, ParameterInvalid
from coppice.jobs import audit, queries
from coppice.jobs.database import open_database
from coppice.jobs.tables import KeyRow, SecretRow
from coppice.settings import Settings

#: The client of every call when no keys are asked for; so no key may carry this name.
ANONYMOUS = "anonymous"
_MAX_NAME = 100
#: What every secret is compared with that belongs to no key: the hash of nothing that anybody could send.
_NO_SECRET = "0" * 64
#: As many bytes as the Standard Webhooks specification asks for at least, and a third more.
_SIGNING_BYTES = 32


class KeyState(StrEnum):
    """Whether a key opens anything."""

    IN_FORCE = "in force"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it may be shown."""

    client_id: str
    name: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    @property
    def state(self) -> KeyState:
        """Whether it opens anything now."""
        if self.revoked is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if _expired(self.expires) else KeyState.IN_FORCE


class Keys:
    """The API keys of one service; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._engine = open_database(settings)

    @property
    def engine(self) -> sa.Engine:
        """The database that they are in."""
        return self._engine

    def create(self, name: str, *, lifetime: timedelta | None = None) -> tuple[str, str]:
        """Make a key for the client `name`: its id and its secret, which is not to be had again."""
        if name == ANONYMOUS or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            raise ParameterInvalid(
                f"{name!r} can't name a client: give 1 to {_MAX_NAME} printable characters, not {ANONYMOUS!r}.",
                field="name",
            )
        with Session(self._engine) as session, session.begin():
            return _add(session, name, lifetime, "key_created")

    def rotate(self, client_id: str, *, grace: timedelta, lifetime: timedelta | None = None) -> tuple[str, str]:
        """Make another key of the same client; the old one opens the service for as long as the grace.

        The new key lives as long as the old one was given, unless told otherwise. Raises KeyInvalid when there is none
        of that id in force.
        """
        with Session(self._engine) as session, session.begin():
            row = queries.key(session, client_id)
            if row is None or _expired(row.expires):
                raise _no_such_key(client_id)
            ends = datetime.now(UTC) + grace
            if row.expires is not None:
                ends = min(ends, row.expires)
                lifetime = lifetime or row.expires - row.created
            if not queries.expire_key(session, client_id, ends):
                raise _no_such_key(client_id)
            return _add(session, row.name, lifetime, "key_rotated")

    def list(self) -> tuple[Key, ...]:
        """Every key ever made, oldest first."""
        with Session(self._engine) as session:
            return tuple(
                Key(
                    client_id=row.client_id,
                    name=row.name,
                    created=row.created,
                    expires=row.expires,
                    revoked=row.revoked,
                )
                for row in queries.keys(session)
            )

    def revoke(self, client_id: str) -> None:
        """Take a key out of force, at once; raises KeyInvalid when there is none of that id in force."""
        with Session(self._engine) as session, session.begin():
            row = queries.key(session, client_id)
            if row is None or not queries.revoke_key(session, client_id, datetime.now(UTC)):
                raise _no_such_key(client_id)
            _note(session, row.name, client_id, "key_revoked")

    def verify(self, client_id: str, secret: str) -> str:
        """The name of the client that holds this key; raises KeyInvalid, never saying which half was wrong."""
        with Session(self._engine) as session:
            row = queries.key(session, client_id)
        # The comparison is made in any case, so that time doesn't tell whether the id exists.
        right = hmac.compare_digest(_hash(secret), row.secret_sha256 if row else _NO_SECRET)
        if row is None or not right:
            raise KeyInvalid(
                "The API key is not valid. Send X-IBM-Client-Id and X-IBM-Client-Secret of a key in force."
            )
        if row.expires is not None and _expired(row.expires):  # told to nobody but who holds it
            raise KeyInvalid(f"The API key expired on {row.expires:%Y-%m-%d %H:%M} UTC. Ask the operator for another.")
        return row.name

    def webhook_secret(self, name: str) -> str:
        """What the webhooks of a client are signed with, made when it is first asked for.

        Raises ParameterInvalid when no key was ever made for that name.
        """
        with Session(self._engine) as session, session.begin():
            if name != ANONYMOUS and all(row.name != name for row in queries.keys(session)):
                raise ParameterInvalid(
                    f"There is no client {name!r}. `coppice keys list` shows them; without keys it is {ANONYMOUS}.",
                    field="name",
                )
            return signing_secret(session, name)


def signing_secret(session: Session, client: str) -> str:
    """What the webhooks of a client are signed with, in the spelling of Standard Webhooks: `whsec_` and base64."""
    name = f"webhook of {client}"
    found = session.get(SecretRow, name)
    if found is None:
        made = f"whsec_{base64.b64encode(secrets.token_bytes(_SIGNING_BYTES)).decode()}"
        queries.keep_secret(session, name, made)
        # Another may have been quicker.
        found = session.get_one(SecretRow, name)
    return found.value


def _add(session: Session, name: str, lifetime: timedelta | None, action: str) -> tuple[str, str]:
    client_id, secret = secrets.token_hex(16), secrets.token_hex(32)
    now = datetime.now(UTC)
    expires = None if lifetime is None else now + lifetime
    session.add(
        KeyRow(client_id=client_id, name=name, secret_sha256=_hash(secret), created=now, expires=expires, revoked=None)
    )
    _note(session, name, client_id, action)
    return client_id, secret


def _note(session: Session, name: str, client_id: str, action: str) -> None:
    audit.add(
        session,
        audit.Entry(at=datetime.now(UTC), client=name, client_id=client_id, action=action, outcome="ok"),
    )


def _no_such_key(client_id: str) -> KeyInvalid:
    return KeyInvalid(f"No key in force has the id {client_id!r}. `coppice keys list` shows them.")


def _expired(expires: datetime | None) -> bool:
    return expires is not None and expires <= datetime.now(UTC)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
