"""Webhooks: whoever asked for it is told that a job has ended, until they have understood or a day is over.

The row is written in the transaction that ends the job (`queries`), so none is lost; it goes when it was delivered or
given up. Workers deliver, each claiming what is due by moving `due` on, so that two don't send at once; one that dies
while it sends leaves the row to be due again. So a receiver may be told twice, and sees by the id that it was.

The message is signed as Standard Webhooks 1.0.0 says (github.com/standard-webhooks), with a secret per client.

Not here: which addresses may be called (`jobs.addresses`), the call (`jobs.calls`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from coppice.errors import ParameterInvalid
from coppice.jobs import metrics, queries
from coppice.jobs.calls import CALL_SECONDS, Caller, CallFailedError
from coppice.jobs.keys import signing_secret
from coppice.jobs.tables import JobRow, WebhookRow
from coppice.records.job import JobState
from coppice.version import __version__

_log = logging.getLogger(__name__)

#: Pauses between the tries, seconds: ten tries over a day, the first of them close together.
PAUSES = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 46_800)
#: How long a claimed webhook is its worker's: several times what a call may take.
_LEASE = timedelta(seconds=CALL_SECONDS * 4)
#: How many calls one worker makes at a time, so that a slow receiver doesn't hold up the others.
_AT_ONCE = 8
#: How often a worker looks for what is due, seconds.
PAUSE_SECONDS = 1.0
#: Of a summary or a reason, characters: the specification asks for messages below 20 kB.
_MESSAGE = 8000

_GONE = 410

#: As in the answers of `status`, which a test holds to it.
NUMBERS: Mapping[JobState, int] = {JobState.DONE: 0, JobState.FAILED: -1, JobState.CANCELLED: -2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One webhook as it is sent; a new one, with the same id, for every try."""

    url: str
    body: bytes
    headers: Mapping[str, str]


async def deliver(engine: sa.Engine, caller: Caller) -> None:
    """Try once whatever is due, a few at a time: what a worker does from time to time."""
    while claimed := await asyncio.to_thread(_claim, engine):
        await asyncio.gather(*(_deliver(engine, caller, txid, tries) for txid, tries in claimed))


def _claim(engine: sa.Engine) -> list[tuple[str, int]]:
    """Take some that are due, for as long as the lease; (txid, the number of this try) of each."""
    now = datetime.now(UTC)
    due = sa.select(WebhookRow.txid, WebhookRow.due, WebhookRow.tries).where(WebhookRow.due <= now)
    with Session(engine) as session:
        found = session.execute(due.order_by(WebhookRow.due).limit(_AT_ONCE)).all()
    if not found:
        return []
    claimed = []
    with Session(engine) as session, session.begin():
        for txid, was_due, tries in found:
            mine = sa.update(WebhookRow).where(WebhookRow.txid == txid, WebhookRow.due == was_due)
            if queries.changed(session, mine.values(due=now + _LEASE, tries=tries + 1)):
                claimed.append((txid, tries + 1))
    return claimed


async def _deliver(engine: sa.Engine, caller: Caller, txid: str, tries: int) -> None:
    message = await asyncio.to_thread(_message, engine, txid)
    ended, outcome = True, "the job is no more"
    if message is not None:
        try:
            status = await caller.post(message.url, message.body, message.headers)
            ended, outcome = status // 100 == 2 or status == _GONE, f"HTTP {status}"
        except (CallFailedError, ParameterInvalid) as e:
            ended, outcome = False, str(e)
        except Exception as e:  # noqa: BLE001  # whatever a stranger's host makes of us, it holds up no other webhook
            ended, outcome = False, type(e).__name__
    if not ended and tries > len(PAUSES):
        ended, outcome = True, f"given up: {outcome}"
    metrics.webhook_tried("put_off" if not ended else "given_up" if outcome.startswith("given up") else "delivered")
    # Not where it went: an address may hold a secret of the receiver's.
    _log.info("webhook of job %s, try %d: %s", txid, tries, outcome)
    await asyncio.to_thread(_note, engine, txid, None if ended else timedelta(seconds=PAUSES[tries - 1]))


def _note(engine: sa.Engine, txid: str, pause: timedelta | None) -> None:
    """Have the next try after a pause; None: there is none."""
    row = WebhookRow.txid == txid
    with Session(engine) as session, session.begin():
        if pause is None:
            session.execute(sa.delete(WebhookRow).where(row))
        else:
            session.execute(sa.update(WebhookRow).where(row).values(due=datetime.now(UTC) + pause))


def _message(engine: sa.Engine, txid: str) -> Message | None:
    with Session(engine) as session, session.begin():
        url = session.scalar(sa.select(WebhookRow.url).where(WebhookRow.txid == txid))
        row = queries.job(session, txid)
        if url is None or row is None or row.finished is None:
            return None
        return signed(url, f"end_{txid}", payload(row), signing_secret(session, row.client), datetime.now(UTC))


def payload(row: JobRow) -> bytes:
    """What is told of a job that has ended."""
    state = JobState.DONE if row.filename is not None else JobState.FAILED if row.failure else JobState.CANCELLED
    messages = {
        JobState.DONE: row.summary or "Done.",
        JobState.FAILED: str((row.failure or {}).get("message", "The job failed.")),
        JobState.CANCELLED: f"Cancelled by {row.client}.",
    }
    finished = f"{row.finished:%Y-%m-%dT%H:%M:%S.%fZ}"
    told = {
        "type": f"job.{state}",
        "timestamp": finished,
        "txid": row.txid,
        "status": NUMBERS[state],
        "state": state,
        "message": messages[state][:_MESSAGE],
        "filename": row.filename,
        "finished": finished,
    }
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def signed(url: str, identity: str, body: bytes, secret: str, at: datetime) -> Message:
    """A message as Standard Webhooks wants it: id, time of this try and body under one signature."""
    seconds = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.digest(key, b".".join((identity.encode(), seconds.encode(), body)), hashlib.sha256)
    return Message(
        url=url,
        body=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": f"coppice/{__version__}",
            "webhook-id": identity,
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        },
    )
