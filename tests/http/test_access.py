"""Who is let in: keys, pages of other sites, and a service without a sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.errors import ParameterInvalid
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.http.service import files_under, served

MODEL = {"model": ("net.h5", b"model")}
#: Every call, with what makes it a right one.
CALLS: list[tuple[str, str, dict[str, Any], tuple[str, object]]] = [
    ("POST", "/api/tf_prune?percent=0.4", {"files": MODEL}, ("txid", "N/A")),
    ("POST", "/edgeai/run/api/tf_prune?percent=0.4", {"files": MODEL}, ("txid", "N/A")),
    ("POST", "/api/pt_prune", {}, ("txid", "N/A")),
    ("GET", "/api/status/?txid=1", {}, ("status", -1)),
    ("GET", "/edgeai/run/api/status/?txid=1", {}, ("status", "-1")),
    ("GET", "/api/download?txid=1", {}, ("status", -1)),
    ("GET", "/edgeai/run/api/download?txid=1", {}, ("status", -1)),
    ("POST", "/api/cancel?txid=1", {}, ("status", -1)),
]


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.model_copy(update={"host": "0.0.0.0"})


def headers(client_id: str, secret: str) -> dict[str, str]:
    return {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": secret}


@pytest.mark.parametrize(("method", "address", "given", "shape"), CALLS)
def test_a_call_without_a_key_is_refused_in_its_own_shape(
    guarded: Settings, method: str, address: str, given: dict[str, Any], shape: tuple[str, object]
) -> None:
    answer = served(guarded).request(method, address, **given)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_invalid")
    assert answer.json()[shape[0]] == shape[1]
    assert "X-IBM-Client-Id" in answer.json()["message"]
    assert files_under(guarded.data_dir / "store") == []


def test_wrong_halves_of_a_key_are_answered_alike(guarded: Settings) -> None:
    client_id, secret = Keys(guarded).create("ann")
    other_id, _other = Keys(guarded).create("bob")
    client = served(guarded)
    answers = [
        client.get("/api/status/?txid=1", headers=headers(*key))
        for key in ((client_id, "0" * 64), ("0" * 32, secret), (other_id, secret))
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1


def test_a_key_opens_the_service_to_its_client_until_revoked(guarded: Settings) -> None:
    keys = Keys(guarded)
    client_id, secret = keys.create("ann")
    client = served(guarded)
    sent = client.post("/api/tf_prune?percent=0.4", files=MODEL, headers=headers(client_id, secret))
    assert Desk(guarded).job(sent.json()["txid"], "ann").client == "ann"
    keys.revoke(client_id)
    after = client.get(f"/api/status/?txid={sent.json()['txid']}", headers=headers(client_id, secret))
    assert after.status_code == 401


def test_a_refused_key_costs_no_upload(guarded: Settings) -> None:
    """The answer is there before a byte of the body is asked for."""

    async def body() -> Any:
        raise AssertionError("the body was read")
        yield b""

    answer = served(guarded).post(
        "/api/tf_prune?percent=0.4", content=body(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("host", "required", "status"),
    [
        ("127.0.0.1", None, 404),
        ("localhost", None, 404),
        ("::1", None, 404),
        ("0.0.0.0", None, 401),
        ("192.0.2.1", None, 401),
        ("127.0.0.1", True, 401),
        ("0.0.0.0", False, 404),
    ],
)
def test_keys_are_asked_for_where_others_can_call(
    settings: Settings, host: str, required: bool | None, status: int
) -> None:
    settings = settings.model_copy(update={"host": host, "keys_required": required})
    assert served(settings).get("/api/status/?txid=1").status_code == status


def test_the_documents_placeholders_do_no_harm_where_no_key_is_asked_for(settings: Settings) -> None:
    answer = served(settings).get("/api/status/?txid=1", headers=headers("CLIENT_ID", "CLIENT_SECRET"))
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("site", "base_url", "let_in"),
    [
        ("same-origin", "https://127.0.0.1:8443", True),
        ("same-origin", "https://localhost:8443", True),
        ("none", "https://127.0.0.1:8443", True),
        ("cross-site", "https://127.0.0.1:8443", False),
        ("same-site", "https://localhost:8443", False),
        # A name of another site that was pointed at this machine.
        ("same-origin", "https://attacker.example:8443", False),
    ],
)
def test_without_keys_a_page_of_another_site_can_not_send_a_job(
    settings: Settings, site: str, base_url: str, let_in: bool
) -> None:
    answer = served(settings, base_url=base_url).post(
        "/api/tf_prune?percent=0.4", files=MODEL, headers={"Sec-Fetch-Site": site}
    )
    assert answer.status_code == (200 if let_in else 403)
    assert answer.json().get("code") == (None if let_in else "cross_site")


def test_without_a_sandbox_every_answer_says_so(settings: Settings) -> None:
    client = served(settings.model_copy(update={"isolation": "none"}))
    for path in ("/", "/docs", "/openapi.json", "/healthz", "/api/status/", "/nowhere", "/docs/assets/docs.js"):
        assert client.get(path).headers["x-coppice-isolation"] == "none", path
    assert "x-coppice-isolation" not in served(settings).get("/healthz").headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_a_sandbox_others_are_not_served(settings: Settings, host: str) -> None:
    with pytest.raises(ParameterInvalid, match=r"127\.0\.0\.1"):
        served(settings.model_copy(update={"isolation": "none", "host": host}))
