"""What the audit log says of calls, seen through the whole app."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from coppice.jobs.audit import Entry, entries
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.http.service import TXID, Client, ShownDesk, job, keep_results, served
from tests.jobs.job_processes import until

MODEL = {"model": ("net.h5", b"model")}


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.model_copy(update={"host": "0.0.0.0", "jobs_per_client": 1})


def headers(key: tuple[str, str]) -> dict[str, str]:
    return {"X-IBM-Client-Id": key[0], "X-IBM-Client-Secret": key[1]}


def logged(settings: Settings, enough: Callable[[list[Entry]], bool]) -> list[Entry]:
    """The entries of calls, once there are enough of them."""
    keys = Keys(settings)

    def look() -> list[Entry] | None:
        with Session(keys.engine) as session:
            found = [entry for entry in entries(session) if not entry.action.startswith("key_c")]
        return found if enough(found) else None

    return until(look, "the audit log")


def test_each_call_that_does_something_is_told_with_who_and_what_and_how_it_ended(guarded: Settings) -> None:
    key = Keys(guarded).create("ann")
    client, given = served(guarded), {"headers": headers(key)}
    txid = client.post("/api/tf_prune?percent=0.4", files=MODEL, **given).json()["txid"]
    over = client.post("/edgeai/run/api/tf_prune/?percent=0.4", files=MODEL, **given)
    assert (over.status_code, over.json()["code"]) == (429, "quota_exceeded")
    assert int(over.headers["retry-after"]) > 0
    client.get(f"/api/status/?txid={txid}", **given)
    client.post(f"/api/cancel?txid={txid}", **given)
    client.post("/api/tf_prune?percent=7", files=MODEL, **given)
    client.get("/api/download?txid=other", **given)
    client.request("DELETE", f"/api/jobs?txid={txid}", **given)
    found = logged(guarded, lambda found: len(found) == 6)
    assert {(entry.client, entry.client_id, entry.address) for entry in found} == {("ann", key[0], "127.0.0.1")}
    assert [(entry.action, entry.txid, entry.outcome) for entry in found] == [
        ("submit", txid, "ok"),
        ("submit", None, "quota_exceeded"),
        ("cancel", txid, "ok"),
        ("submit", None, "percent_out_of_range"),
        ("download", "other", "unknown_transaction"),
        ("delete", txid, "ok"),
    ]


def test_a_flood_of_wrong_keys_is_told_and_does_not_fill_the_log(guarded: Settings) -> None:
    Keys(guarded).create("ann")
    client = served(guarded)
    for number in range(80):
        client.get("/api/status/?txid=1", headers=headers((f"{number:032x}", "0" * 64)))
    client.get("/api/status/?txid=1")
    client.post("/api/tf_prune?percent=0.4", files=MODEL)
    found = logged(guarded, lambda found: len(found) > 1)
    refused = [entry for entry in found if entry.action == "key_refused"]
    assert 1 <= len(refused) <= 60
    assert (refused[0].client, refused[0].client_id, refused[0].outcome) == ("", "0" * 32, "key_invalid")


def test_a_download_is_told(settings: Settings) -> None:
    keep_results(settings)
    client = served(settings, ShownDesk(settings, {TXID: job(JobState.DONE)}))
    client.get(f"/api/download?txid={TXID}")
    found = logged(settings, lambda found: len(found) == 1)
    assert (found[0].client, found[0].action, found[0].txid) == ("anonymous", "download", TXID)


def test_no_secret_is_in_the_log(guarded: Settings) -> None:
    key = Keys(guarded).create("ann")
    client: Client = served(guarded)
    client.post("/api/tf_prune?percent=0.4", files=MODEL, headers=headers(key))
    found = logged(guarded, lambda found: len(found) == 1)
    assert key[1] not in str(found)
    assert Desk(guarded).job(str(found[0].txid), "ann").client == "ann"
