"""The list of a client's jobs: its filters as one table, which the reader and the Swagger page share, and its pages.

>>> cursor_number(cursor(4711, "ann"), "ann")
4711
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from coppice.errors import ParameterInvalid
from coppice.http import answers
from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.job import JobState, Wanted
from coppice.records.request import Task
from coppice.records.texts import parse_choice

MAX_LIMIT, DEFAULT_LIMIT = 200, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One parameter of the list."""

    name: str
    description: str
    read: Callable[[str], object]
    json_type: str = "string"
    choices: tuple[str, ...] = ()


def read_since(text: str) -> datetime:
    """Read a moment; without a zone it is in UTC."""
    try:
        # A plus sign that was not escaped comes as a space.
        moment = datetime.fromisoformat(text.strip().replace(" 0", "+0"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ParameterInvalid(
            f"since={text[:100]!r} is no moment. Write it as 2026-11-22 or 2026-11-22T03:04:05Z.", field="since"
        ) from e


def read_limit(text: str) -> int:
    """Read the length of a page."""
    if not text.strip().isascii() or not text.strip().isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        raise ParameterInvalid(f"limit={text[:100]!r} is no whole number from 1 to {MAX_LIMIT}.", field="limit")
    return int(text)


def read_txid(text: str) -> str:
    """Read a transaction id; one that nobody has means no job."""
    return text.strip()[:100]


FILTERS: tuple[Filter, ...] = (
    Filter(name="txid", description="Only this job: with what it was asked for.", read=read_txid),
    Filter(
        name="state",
        description="Only jobs in this state.",
        read=partial(parse_choice, name="state", choices=JobState),
        choices=tuple(JobState),
    ),
    Filter(
        name="task",
        description="Only jobs of calls that do this.",
        read=partial(parse_choice, name="task", choices=Task),
        choices=tuple(Task),
    ),
    Filter(
        name="framework",
        description="Only jobs of models of this framework.",
        read=partial(parse_choice, name="framework", choices=Framework),
        choices=tuple(Framework),
    ),
    Filter(
        name="since",
        description="Only jobs that were sent at this moment or later: `2026-11-22`, `2026-11-22T03:04:05Z`.",
        read=read_since,
    ),
    Filter(
        name="limit",
        description=f"How many jobs a page has at most, 1 to {MAX_LIMIT}; by default {DEFAULT_LIMIT}.",
        read=read_limit,
        json_type="integer",
    ),
)
#: Of the next page; read with its client, so it is no row of the table.
AFTER = "after"


def listed(desk: Desk, client: str, given: Mapping[str, str]) -> answers.Jobs:
    """The page that a call asks for; raises ParameterInvalid."""
    values = {one.name: one.read(given[one.name]) for one in FILTERS if given[one.name]}
    before = cursor_number(given[AFTER], client) if given[AFTER] else None
    wanted = Wanted.model_validate({"limit": DEFAULT_LIMIT, **values, "before": before})
    # One more than is shown tells whether there is another page.
    entries = desk.jobs(client, wanted.model_copy(update={"limit": wanted.limit + 1}))
    shown = entries[: wanted.limit]
    more = len(entries) > len(shown)
    return answers.Jobs(
        jobs=tuple(answers.listed(entry) for entry in shown), next=cursor(shown[-1].number, client) if more else None
    )


def cursor(number: int, client: str) -> str:
    """Where a page of a client's ended. It opens nothing, since every page holds its reader's own jobs only."""
    return base64.urlsafe_b64encode(number.to_bytes(8) + _check(number, client)).decode().rstrip("=")


def cursor_number(text: str, client: str) -> int:
    """The number in a cursor; raises ParameterInvalid for one that was not given to this client."""
    try:
        raw = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    number = int.from_bytes(raw[:8])
    if len(raw) != 12 or raw[8:] != _check(number, client):
        raise ParameterInvalid(
            f"{AFTER}={text[:100]!r} is no `next` of a page of yours. Leave it out to begin anew.", field=AFTER
        )
    return number


def _check(number: int, client: str) -> bytes:
    return hashlib.sha256(f"{number}:{client}".encode()).digest()[:4]
