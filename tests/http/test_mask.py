"""`X-Fields`: masks as Flask-RESTX documents them, and refusals that say where a mask stops making sense."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from coppice.errors import FieldsMaskInvalid
from coppice.http import mask as mask_module
from coppice.http.mask import parse
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.http.service import TABLE, TXID, ShownDesk, job, served, uploads_of

BODY = {"txid": "7d2c", "message": "ok", "progress": {"step": "trace", "fraction": 0.5}}


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        ("txid", {"txid": "7d2c"}),
        ("{txid}", {"txid": "7d2c"}),
        ("txid,message", {"txid": "7d2c", "message": "ok"}),
        (" { message , txid } ", {"txid": "7d2c", "message": "ok"}),
        ("*", BODY),
        ("{*}", BODY),
        ("", BODY),
        ("progress{step}", {"progress": {"step": "trace"}}),
        ("{txid,progress{fraction}}", {"txid": "7d2c", "progress": {"fraction": 0.5}}),
        ("progress{step},*", {"txid": "7d2c", "message": "ok", "progress": {"step": "trace"}}),
        ("progress{*}", {"progress": {"step": "trace", "fraction": 0.5}}),
        ("absent", {}),
        ("message{inside}", {"message": "ok"}),
    ],
)
def test_a_mask_keeps_what_it_names(mask: str, kept: dict[str, Any]) -> None:
    assert parse(mask).apply(BODY) == kept


@pytest.mark.parametrize(
    ("mask", "character"),
    [
        ("{txid", 6),
        ("txid}", 5),
        ("txid,", 6),
        (",txid", 1),
        ("txid message", 6),
        ("{}", 2),
        ("{{txid}}", 2),
        ("a{b}c", 5),
        ("{txid}}", 7),
        ("txid;message", 5),
        ("a{b{c}", 7),
        ("{" * 5000, 2),
    ],
)
def test_a_mask_that_does_not_parse_says_where(mask: str, character: int) -> None:
    with pytest.raises(FieldsMaskInvalid, match=f"at character {character}:") as caught:
        parse(mask)
    assert caught.value.field == "X-Fields"


def test_depth_is_bounded() -> None:
    with pytest.raises(FieldsMaskInvalid, match="deeper"):
        parse("a{" * 3000 + "b" + "}" * 3000)


def test_the_answers_hold_the_masked_fields_only(settings: Settings) -> None:
    client = served(settings, ShownDesk(settings, {TXID: job(JobState.DONE)}))
    status = client.get(f"/api/status/?txid={TXID}", headers={"X-Fields": "message"})
    upload = client.post(
        "/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")}, headers={"X-Fields": "{txid}"}
    )
    assert status.json() == {"message": TABLE}
    assert list(upload.json()) == ["txid"]


def test_a_wrong_mask_is_refused_before_anything_is_done(settings: Settings) -> None:
    answer = served(settings).post(
        "/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")}, headers={"X-Fields": "txid,"}
    )
    assert answer.status_code == 400
    assert (answer.json()["txid"], answer.json()["code"]) == ("N/A", "fields_mask_invalid")
    assert "character 6" in answer.json()["message"]
    assert uploads_of(settings) == {}


def test_a_mask_never_hides_why_a_call_was_refused(settings: Settings) -> None:
    answer = served(settings).get("/api/status/?txid=1", headers={"X-Fields": "filename"})
    assert answer.json()["message"] == "No transaction submitted for txid"


def test_the_examples_of_the_module_are_true() -> None:
    assert doctest.testmod(mask_module).failed == 0
    assert doctest.testmod(mask_module).attempted == 2
