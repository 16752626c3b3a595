"""`wait=` and `events`: told as soon as it is so, with one look at the database for all who wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Collection, Mapping
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from coppice.http.app import create_app
from coppice.http.drain import Drain
from coppice.http.events import PER_CLIENT
from coppice.http.watching import Watch
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.records.job import Glance, JobState
from coppice.settings import Settings
from coppice.storage import Storage
from tests.http.process import api_process, curl
from tests.http.service import TXID, Client, ShownDesk, job, served
from tests.jobs.job_processes import until

QUEUED, CANCELLED, DONE = (Glance(state=state) for state in (JobState.QUEUED, JobState.CANCELLED, JobState.DONE))
#: Far more than anything here takes: who waits is told long before, or the test fails.
LONG = 50.0


def submit(client: Client) -> str:
    return str(client.post("/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")}).json()["txid"])


def asked(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://127.0.0.1")


def served_app(settings: Settings) -> Any:
    return create_app(settings, Desk(settings), Keys(settings), Storage(settings))


def events_of(text: str) -> list[dict[str, str]]:
    """The events of a stream, by the field names of the standard; comments are none."""
    blocks = (block.splitlines() for block in text.split("\n\n"))
    found = [dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in blocks]
    return [event for event in found if "event" in event]


def test_a_status_that_waits_comes_when_the_job_has_ended(settings: Settings) -> None:
    txid, app = submit(served(settings)), served_app(settings)

    async def cancelled_while_it_waits() -> dict[str, Any]:
        async with asked(app) as client:
            waiting = asyncio.create_task(client.get("/api/status", params={"txid": txid, "wait": LONG}))
            while not app.state.watch.watched:
                await asyncio.sleep(0.01)
            await client.post("/api/cancel", params={"txid": txid})
            answer: dict[str, Any] = (await asyncio.wait_for(waiting, LONG / 2)).json()
            return answer

    assert asyncio.run(cancelled_while_it_waits())["status"] == -2


def test_a_status_that_waited_for_nothing_says_how_it_stands(settings: Settings) -> None:
    client = served(settings)
    txid = submit(client)
    assert client.get("/api/status", params={"txid": txid, "wait": "0.1"}).json()["status"] == 1


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "inf", "long", "1,5"])
def test_a_wait_that_is_none_is_named(settings: Settings, wait: str) -> None:
    answer = served(settings).get("/api/status", params={"txid": TXID, "wait": wait})
    assert (answer.status_code, answer.json()["field"], answer.json()["status"]) == (400, "wait", -1)


@pytest.mark.parametrize("path", ["/api/events", "/api/events/", "/edgeai/run/api/events", "/edgeai/run/api/events/"])
def test_the_events_of_an_ended_job_are_its_status_once(settings: Settings, path: str) -> None:
    client = served(settings, ShownDesk(settings, {TXID: job(JobState.FAILED)}))
    answer = client.get(path, params={"txid": TXID})
    assert answer.headers["content-type"].startswith("text/event-stream")
    (event,) = events_of(answer.text)
    assert event["event"] == "status"
    assert json.loads(event["data"]) == client.get("/api/status", params={"txid": TXID}).json()
    # A browser opens a stream again that ended; it has all there is by then, and 204 stops it.
    again = client.get(path, params={"txid": TXID}, headers={"Last-Event-ID": event["id"]})
    assert (again.status_code, again.content) == (204, b"")
    masked = client.get(path, params={"txid": TXID}, headers={"X-Fields": "status"})
    assert json.loads(events_of(masked.text)[0]["data"]) == {"status": -1}


@pytest.mark.parametrize("call", ["cancel", "delete"])
def test_events_follow_a_job_to_its_end(settings: Settings, call: str) -> None:
    txid, app = submit(served(settings)), served_app(settings)

    async def ended_while_followed() -> str:
        async with asked(app) as client:
            following = asyncio.create_task(client.get("/api/events", params={"txid": txid}, timeout=LONG))
            while not app.state.watch.watched:
                await asyncio.sleep(0.01)
            await client.post(f"/api/{call}", params={"txid": txid})
            return (await asyncio.wait_for(following, LONG / 2)).text

    first, last = (json.loads(event["data"]) for event in events_of(asyncio.run(ended_while_followed())))
    assert (first["status"], first["message"]) == (1, "Queued: place 1.")
    if call == "cancel":
        assert last["status"] == -2
    else:
        assert (last["status"], last["code"]) == (-1, "unknown_transaction")


def test_a_client_waits_for_so_many_at_once_and_no_more(settings: Settings) -> None:
    txid, app = submit(served(settings)), served_app(settings)

    async def one_too_many() -> list[int]:
        async with asked(app) as client:
            calls = [
                asyncio.create_task(client.get("/api/status", params={"txid": txid, "wait": LONG}))
                for _ in range(PER_CLIENT + 1)
            ]
            first, _rest = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            refused = [one.result().status_code for one in first]
            await client.post("/api/cancel", params={"txid": txid})
            await asyncio.wait_for(asyncio.wait(calls), LONG / 2)
            return [*refused, *(one.result().status_code for one in calls if one not in first)]

    assert asyncio.run(one_too_many()) == [429, *[200] * PER_CLIENT]


class _Looks:
    """Counts what is asked of the database."""

    def __init__(self) -> None:
        self.now: dict[str, Glance] = {str(number): QUEUED for number in range(100)}
        self.asked: list[set[str]] = []

    def __call__(self, txids: Collection[str]) -> Mapping[str, Glance]:
        self.asked.append(set(txids))
        return {txid: self.now[txid] for txid in txids if txid in self.now}


def test_one_look_is_for_all_who_wait_and_none_is_when_nobody_does() -> None:
    looks = _Looks()
    watch = Watch(looks, Drain())

    async def wait_for_all() -> list[Glance | None]:
        waiting = [asyncio.create_task(watch.change(txid, QUEUED, LONG)) for txid in looks.now for _ in range(3)]
        while not looks.asked:
            await asyncio.sleep(0.01)
        looks.now = {txid: CANCELLED if txid != "7" else DONE for txid in looks.now}
        del looks.now["8"]
        told = await asyncio.gather(*waiting)
        while len(asyncio.all_tasks()) > 1:  # until the looking has stopped by itself
            await asyncio.sleep(0.01)
        return told

    told = asyncio.run(wait_for_all())
    assert looks.asked == [{str(number) for number in range(100)}] * 2
    assert told[:3] == [CANCELLED] * 3
    assert told[21:27] == [DONE] * 3 + [None] * 3
    assert not watch.watched


def test_who_waits_is_sent_away_when_the_server_ends() -> None:
    drain = Drain()
    watch = Watch(_Looks(), drain)

    async def wait() -> tuple[Glance | None, Glance | None]:
        waiting = asyncio.create_task(watch.change("1", QUEUED, LONG))
        await asyncio.sleep(0)
        drain.begun.set()
        return await asyncio.wait_for(waiting, LONG / 2), await watch.change("1", QUEUED, LONG)

    assert asyncio.run(wait()) == (QUEUED, QUEUED)


def test_a_database_that_is_away_for_a_while_ends_no_wait() -> None:
    looks, failures = _Looks(), [OSError, OSError]

    def fail_first(txids: Collection[str]) -> Mapping[str, Glance]:
        if failures:
            raise OperationalError("select", {}, failures.pop()())
        looks.now["1"] = CANCELLED
        return looks(txids)

    watch = Watch(fail_first, Drain())
    assert asyncio.run(watch.change("1", QUEUED, LONG)) == CANCELLED
    assert failures == []


@pytest.mark.slow  # a real process
def test_a_stream_ends_in_order_with_its_server_and_a_client_that_leaves_gives_its_place_back(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"tls": False})
    with api_process(settings) as server:
        model = settings.data_dir / "net.h5"
        model.write_bytes(b"\x89HDF")
        txid = json.loads(curl("-sf", "-F", f"model=@{model}", f"{server.url}/api/tf_prune?percent=0.4"))["txid"]
        left = [server.connect() for _ in range(PER_CLIENT)]
        for connection in left:
            connection.sendall(f"GET /api/events?txid={txid} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert httpx.get(f"{server.url}/api/status/", params={"txid": txid, "wait": 1}).status_code == 429
        for connection in left:
            connection.close()

        def place() -> bool:
            answer = httpx.get(f"{server.url}/api/status/", params={"txid": txid, "wait": 0.1})
            return answer.status_code == 200

        until(place, "the places of the clients that left")
        stream = httpx.stream("GET", f"{server.url}/api/events", params={"txid": txid}, timeout=LONG)
        with stream as followed:
            lines = followed.iter_lines()
            assert next(lines).startswith("retry: ")
            os.kill(server.pid, signal.SIGTERM)
            rest = list(lines)  # raises where the stream is cut off
    assert any(line.startswith('data: {"status": 1') for line in rest)
