"""API keys: made, listed, revoked, checked. Not here: the headers that carry them (`http`).

A key is a client id and a secret; only the secret's hash is kept. Keys of one name are one client, so that a key can
be replaced without losing sight of the jobs sent with the old one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from coppice.errors import KeyInvalid, ParameterInvalid
from coppice.jobs import queries
from coppice.jobs.database import open_database
from coppice.jobs.tables import KeyRow
from coppice.settings import Settings

#: The client of every call when no keys are asked for; so no key may carry this name.
ANONYMOUS = "anonymous"
_MAX_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it may be shown."""

    client_id: str
    name: str
    created: datetime
    revoked: datetime | None


class Keys:
    """The API keys of one data folder; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._engine = open_database(settings)

    def create(self, name: str) -> tuple[str, str]:
        """Make a key for the client `name`: its id and its secret, which is not to be had again."""
        if name == ANONYMOUS or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            raise ParameterInvalid(
                f"{name!r} can't name a client: give 1 to {_MAX_NAME} printable characters, not {ANONYMOUS!r}.",
                field="name",
            )
        client_id, secret = secrets.token_hex(16), secrets.token_hex(32)
        with Session(self._engine) as session, session.begin():
            session.add(KeyRow(client_id=client_id, name=name, secret_sha256=_hash(secret), created=datetime.now(UTC)))
        return client_id, secret

    def list(self) -> tuple[Key, ...]:
        """Every key ever made, oldest first."""
        with Session(self._engine) as session:
            return tuple(
                Key(client_id=row.client_id, name=row.name, created=row.created, revoked=row.revoked)
                for row in queries.keys(session)
            )

    def revoke(self, client_id: str) -> None:
        """Take a key out of force, at once; raises KeyInvalid when there is none of that id in force."""
        with Session(self._engine) as session, session.begin():
            if not queries.revoke_key(session, client_id, datetime.now(UTC)):
                raise KeyInvalid(f"No key in force has the id {client_id!r}. `coppice keys list` shows them.")

    def verify(self, client_id: str, secret: str) -> str:
        """The name of the client that holds this key; raises KeyInvalid, never saying which half was wrong."""
        with Session(self._engine) as session:
            row = queries.key(session, client_id)
        # The comparison is made in either case, so that time doesn't tell whether the id exists.
        right = hmac.compare_digest(_hash(secret), row.secret_sha256 if row else _hash(""))
        if row is None or not right:
            raise KeyInvalid(
                "The API key is not valid. Send X-IBM-Client-Id and X-IBM-Client-Secret of a key in force."
            )
        return row.name


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
