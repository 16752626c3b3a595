"""How often a client may call, as it sees it: in the headers, and when it is told to come back."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from coppice.http import auth
from coppice.jobs import rates
from coppice.jobs.keys import Keys
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.http.service import TXID, ShownDesk, job, served
from tests.turned_clock import Clock

MODEL = {"model": ("net.h5", b"model")}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)
    return clock


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.model_copy(update={"host": "0.0.0.0", "calls_per_minute": 6})


def headers(key: tuple[str, str]) -> dict[str, str]:
    return {"X-IBM-Client-Id": key[0], "X-IBM-Client-Secret": key[1]}


def told(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]


def test_every_answer_of_a_call_tells_what_is_left(settings: Settings, clock: Clock) -> None:
    client = served(
        settings.model_copy(update={"calls_per_minute": 10}), ShownDesk(settings, {TXID: job(JobState.DONE)})
    )
    asked = [
        ("GET", f"/api/status/?txid={TXID}", 200),
        ("GET", f"/edgeai/run/api/status?txid={TXID}", 200),
        ("GET", "/api/status/?txid=unknown", 404),
        ("GET", "/api/status/", 400),
        ("GET", f"/api/download?txid={TXID}", 410),
        ("POST", "/api/tf_prune?percent=7", 400),
        ("POST", "/api/cancel?txid=unknown", 404),
    ]
    for left, (method, address, status) in zip(range(9, -1, -1), asked, strict=False):
        assert told(client.request(method, address)) == (status, "10", str(left)), address
    for address in ("/healthz", "/docs", "/openapi.json"):
        assert "x-ratelimit-limit" not in client.get(address).headers


def test_a_client_that_calls_too_often_is_told_when_to_come_back_and_that_is_true(
    settings: Settings, clock: Clock
) -> None:
    client = served(settings.model_copy(update={"calls_per_minute": 6}))
    for _ in range(6):
        assert client.get("/api/status/?txid=1").status_code == 404
    refused = client.get("/edgeai/run/api/status/?txid=1")
    assert told(refused) == (429, "6", "0")
    assert (refused.json()["code"], refused.json()["status"]) == ("too_many_requests", "-1")
    assert refused.headers["retry-after"] == "10"
    clock.now += 9
    assert client.get("/api/status/?txid=1").headers["retry-after"] == "1"
    clock.now += 1
    assert client.get("/api/status/?txid=1").status_code == 404
    assert client.post("/api/tf_prune?percent=0.4", files=MODEL).json()["txid"] == "N/A"


def test_a_client_that_follows_eight_jobs_every_second_is_not_hindered(settings: Settings, clock: Clock) -> None:
    client = served(settings, ShownDesk(settings, {TXID: job(JobState.RUNNING)}))

    async def follow() -> set[int]:
        async with httpx.AsyncClient(transport=client._transport, base_url="https://127.0.0.1") as calls:
            seen = set()
            for _ in range(60):
                clock.now += 1
                for _ in range(8):
                    seen.add((await calls.get(f"/api/status/?txid={TXID}")).status_code)
            return seen

    assert asyncio.run(follow()) == {200}


def test_keys_of_one_name_are_one_client_and_others_are_not(guarded: Settings, clock: Clock) -> None:
    keys = Keys(guarded)
    first, second, other = keys.create("ann"), keys.create("ann"), keys.create("bob")
    client = served(guarded)
    seen = [client.get("/api/status/?txid=1", headers=headers(key)).status_code for key in (first, second) * 4]
    assert seen == [404] * 6 + [429] * 2
    assert client.get("/api/status/?txid=1", headers=headers(other)).status_code == 404


def test_wrong_keys_are_limited_by_address_and_the_right_one_can_not_be_found_at_speed(
    guarded: Settings, clock: Clock
) -> None:
    client_id, secret = Keys(guarded).create("ann")
    client = served(guarded)
    tried = [
        client.get("/api/status/?txid=1", headers=headers((client_id, f"{number:064x}")))
        for number in range(auth.REFUSALS_PER_MINUTE + 1)
    ]
    assert [answer.status_code for answer in tried] == [401] * auth.REFUSALS_PER_MINUTE + [429]
    assert tried[-1].headers["retry-after"] == "1"
    # A right guess isn't looked at either: it is answered as a wrong one.
    right, wrong = (client.get("/api/status/?txid=1", headers=headers((client_id, x))) for x in (secret, "0" * 64))
    assert (right.status_code, right.json()) == (429, wrong.json())
    clock.now += 1
    assert client.get("/api/status/?txid=1", headers=headers((client_id, secret))).status_code == 404


def test_a_guesser_does_not_keep_out_who_calls_from_the_same_address(guarded: Settings, clock: Clock) -> None:
    key = Keys(guarded).create("ann")
    client = served(guarded)
    assert client.get("/api/status/?txid=1", headers=headers(key)).status_code == 404
    for _ in range(auth.REFUSALS_PER_MINUTE + 5):
        client.get("/api/status/?txid=1", headers=headers((key[0], "0" * 64)))
    assert client.get("/api/status/?txid=1", headers=headers((key[0], "0" * 64))).status_code == 429
    assert client.get("/api/status/?txid=1", headers=headers(key)).status_code == 404


def test_addresses_of_one_user_are_counted_as_one() -> None:
    assert auth._neighbourhood("2001:db8:1:2:3::5") == auth._neighbourhood("2001:db8:1:2:ffff::1")
    assert auth._neighbourhood("2001:db8:1:2::1") != auth._neighbourhood("2001:db8:1:3::1")
    assert auth._neighbourhood("192.0.2.1") != auth._neighbourhood("192.0.2.2")
