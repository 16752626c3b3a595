"""A job's progress as the service sends it: server-sent events (the HTML standard, section 9.2)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import httpx

from coppice.client.connection import Connection
from coppice.client.status import Status, read_status
from coppice.errors import DatabaseUnavailable, ServiceUnavailable

#: Streams in a row that end without an event, after which the service counts as gone; and the pause between, seconds.
_MOST_BREAKS, _PAUSE = 5, 2.0


def follow(connection: Connection, txid: str) -> Iterator[Status]:
    """Each status that is news, to the last one; a stream that ends too soon is taken up where it was.

    Raises the job's own error when it fails.
    """
    last, breaks = "", 0
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        try:
            with connection.answer("GET", "events", params={"txid": txid}, headers=headers) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                for number, data in _events(answer.iter_lines()):
                    last, breaks = number, 0
                    status = read_status(json.loads(data))
                    yield status
                    if status.done:
                        return
        except (ServiceUnavailable, DatabaseUnavailable):
            if breaks == _MOST_BREAKS:
                raise
        breaks += 1
        if breaks > _MOST_BREAKS:
            raise ServiceUnavailable(f"{connection.url} ends the events of {txid} before the job has ended.")
        time.sleep(_PAUSE)


def _events(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The number and the data of each event."""
    number, data = "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            number = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            yield number, "\n".join(data)
            data = []
