"""How a job is to be handled, beside what it computes: none of it changes a byte of the result.

Here: what a client may ask for, and how it is typed. Not here: what a service allows (`http.reading`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import Field

from coppice.errors import ParameterInvalid
from coppice.records.request import Record
from coppice.records.texts import parse_choice

#: Longer addresses are refused by many servers.
_MAX_ADDRESS = 2000
_WHOLE = re.compile(r"\s*[0-9]{1,9}\s*")


class Priority(StrEnum):
    """Which of a client's own jobs go first. Between clients it changes nothing: they share fairly."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Terms(Record):
    """What a client asks of the service for one job."""

    queue: str = Field(default="cpu", description="the workers that may run the job, by their queue")
    priority: Priority = Priority.NORMAL
    time_limit: int | None = Field(default=None, gt=0, description="wall-clock limit, seconds; below the service's")
    webhook: str | None = Field(default=None, description="address that is told of the end")


def parse_queue(given: str) -> str:
    """Read the name of a queue; whether the service has it is another matter."""
    return given.strip().lower()


def parse_time_limit(given: str) -> int:
    """Read `time_limit`, whole seconds."""
    if not _WHOLE.fullmatch(given) or int(given) < 1:
        raise ParameterInvalid(
            f"time_limit={given[:100]!r} is no whole number of seconds, 1 or more.", field="time_limit"
        )
    return int(given)


def parse_webhook(given: str) -> str:
    """Read an address; whether the service calls it is another matter."""
    address = given.strip()
    if len(address) > _MAX_ADDRESS or not re.match(r"https?://[^\s/]", address, re.IGNORECASE):
        raise ParameterInvalid(
            f"webhook={address[:100]!r} is no address. Give one like https://example.org/finished, of at most "
            f"{_MAX_ADDRESS:,} characters.",
            field="webhook",
        )
    return address


#: attribute of `Terms` -> its reader.
READERS: Mapping[str, Callable[[Any], object]] = {
    "queue": parse_queue,
    "priority": partial(parse_choice, name="priority", choices=Priority),
    "time_limit": parse_time_limit,
    "webhook": parse_webhook,
}
