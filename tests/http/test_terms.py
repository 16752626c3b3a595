"""How a job is to be handled: parameters that are no part of what is computed, and a client's own name for a call."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy.orm import Session

from coppice.http.app import create_app
from coppice.jobs import queries
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.records.terms import Priority, Terms
from coppice.settings import Settings
from coppice.storage import Storage
from tests.http.service import Client, served, uploads_of

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


def post(
    client: Client, query: str = "percent=0.4", *, content: bytes = b"model", key: str | None = KEY
) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/api/tf_prune?{query}", files={"model": ("net.h5", content)}, headers=headers)


def terms_of(settings: Settings, txid: str) -> Terms:
    with Session(open_database(settings)) as session:
        row = queries.job(session, txid)
        assert row is not None
        return Terms.model_validate(row.terms)


@pytest.mark.parametrize("as_form", [False, True])
def test_terms_are_kept_beside_the_request(settings: Settings, as_form: bool) -> None:
    settings = settings.model_copy(update={"queues": "cpu,gpu", "webhook_private": True})
    client, asked = (
        served(settings),
        {
            "queue": "GPU",
            "priority": "high",
            "time_limit": "60",
            "webhook": "http://127.0.0.1:9999/done",
        },
    )
    given = {"data": asked} if as_form else {"params": asked}
    plain = client.post("/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")})
    answer = client.post("/api/tf_prune", files={"model": ("net.h5", b"model")}, **_with_percent(given))
    txid = answer.json()["txid"]
    assert terms_of(settings, txid) == Terms(
        queue="gpu", priority=Priority.HIGH, time_limit=60, webhook="http://127.0.0.1:9999/done"
    )
    desk = Desk(settings)
    assert desk.job(txid, "anonymous").request == desk.job(plain.json()["txid"], "anonymous").request


def _with_percent(given: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {kind: {**asked, "percent": "0.4"} for kind, asked in given.items()}


def test_the_first_queue_of_the_service_is_the_one_of_a_call_that_names_none(settings: Settings) -> None:
    settings = settings.model_copy(update={"queues": "gpu,cpu"})
    assert terms_of(settings, post(served(settings)).json()["txid"]).queue == "gpu"


@pytest.mark.parametrize(
    ("query", "field", "hint"),
    [
        ("queue=gpu", "queue", "cpu"),
        ("priority=urgent", "priority", "low, normal, high"),
        ("time_limit=901", "time_limit", "900 s"),
        ("time_limit=0", "time_limit", "1 or more"),
        ("time_limit=1.5", "time_limit", "whole number"),
        ("webhook=ftp://example.org", "webhook", "https://"),
        ("webhook=http://127.0.0.1/", "webhook", ""),
        ("priorty=high", "priorty", "Did you mean priority?"),
    ],
)
def test_terms_that_the_service_does_not_have_are_refused(
    settings: Settings, query: str, field: str, hint: str
) -> None:
    client = served(settings)
    answer = post(client, f"percent=0.4&{query}")
    assert (answer.status_code, answer.json()["field"], answer.json()["txid"]) == (400, field, "N/A")
    assert hint in answer.json()["message"]
    assert uploads_of(settings) == {}


def test_the_same_call_again_is_the_same_job(settings: Settings) -> None:
    client = served(settings)
    first, second = post(client), post(client)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    store = settings.data_dir / "store" / "uploads"
    assert [folder.name for folder in store.iterdir()] == [first.json()["txid"]]


def test_a_key_is_the_same_with_quotes_and_without(settings: Settings) -> None:
    client = served(settings)
    assert post(client, key='"a \\"key\\""').json() == post(client, key='a "key"').json()


@pytest.mark.parametrize("query", ["percent=0.5", "percent=0.4&priority=high"])
def test_a_key_of_another_call_is_refused(settings: Settings, query: str) -> None:
    client = served(settings)
    first = post(client)
    for refused in (post(client, query), post(client, content=b"another")):
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_conflict")
    store = settings.data_dir / "store" / "uploads"
    assert [folder.name for folder in store.iterdir()] == [first.json()["txid"]]


def test_without_a_key_every_call_is_a_job(settings: Settings) -> None:
    client = served(settings)
    assert post(client, key=None).json() != post(client, key=None).json()


def test_a_key_is_free_again_when_its_job_is_deleted(settings: Settings) -> None:
    client = served(settings)
    first = post(client).json()["txid"]
    client.post("/api/delete", params={"txid": first})
    assert post(client).json()["txid"] != first


def test_clients_do_not_share_keys(settings: Settings) -> None:
    settings = settings.model_copy(update={"keys_required": True})
    client, given = served(settings), set()
    for name in ("ann", "bob"):
        client_id, secret = Keys(settings).create(name)
        headers = {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": secret, "Idempotency-Key": KEY}
        answer = client.post("/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")}, headers=headers)
        given.add(answer.json()["txid"])
    assert len(given) == 2


@pytest.mark.parametrize("key", ["", '""', "k" * 256, "é", '"'])
def test_a_key_that_is_none_is_refused(settings: Settings, key: str) -> None:
    answer = served(settings).post(
        "/api/tf_prune?percent=0.4",
        files={"model": ("net.h5", b"model")},
        headers=[(b"Idempotency-Key", key.encode())],
    )
    if key == '"':  # one quote is a bare text like any other
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")


def test_of_many_calls_with_one_key_at_once_one_makes_a_job(settings: Settings) -> None:
    app = create_app(settings, Desk(settings), Keys(settings), Storage(settings))

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://127.0.0.1") as client:
            calls = (
                client.post(
                    "/api/tf_prune?percent=0.4",
                    files={"model": ("net.h5", b"model")},
                    headers={"Idempotency-Key": KEY},
                )
                for _ in range(8)
            )
            return await asyncio.gather(*calls)

    answers = asyncio.run(all_at_once())
    assert {answer.status_code for answer in answers} == {200}
    (txid,) = {answer.json()["txid"] for answer in answers}
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False] + [True] * 7
    store = settings.data_dir / "store" / "uploads"
    assert [folder.name for folder in store.iterdir()] == [txid]
