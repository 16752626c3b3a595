"""The page: everything described, nothing from another host."""

from __future__ import annotations

import re
from typing import Any

import pytest

from coppice.errors import BY_CODE, ParameterInvalid
from coppice.http.listing import FILTERS
from coppice.http.parameters import PARAMETERS
from coppice.http.parts import PARTS
from coppice.settings import Settings
from tests.http.service import served


@pytest.fixture
def schema(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = served(settings).get("/openapi.json").json()
    return found


def operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in schema["paths"].values() for operation in path.values()]


def test_the_calls_are_there_once_and_both_prefixes_are_servers(schema: dict[str, Any]) -> None:
    assert set(schema["paths"]) == {
        "/api/tf_prune",
        "/api/pt_prune",
        "/api/onnx_prune",
        "/api/inspect",
        "/api/tf_sweep",
        "/api/pt_sweep",
        "/api/onnx_sweep",
        "/api/tf_quantize",
        "/api/pt_quantize",
        "/api/onnx_quantize",
        "/api/status/",
        "/api/download",
        "/api/cancel",
        "/api/events",
        "/api/jobs",
        "/api/delete",
    }
    assert set(schema["paths"]["/api/jobs"]) == {"get", "delete"}
    assert [server["url"] for server in schema["servers"]] == ["/", "/edgeai/run"]


def test_every_call_parameter_field_and_answer_is_described(schema: dict[str, Any]) -> None:
    for operation in operations(schema):
        assert operation["summary"]
        assert operation["description"]
        assert all(parameter["description"] for parameter in operation["parameters"])
        assert all(answer["description"] for answer in operation["responses"].values())
    for model in schema["components"]["schemas"].values():
        assert model["description"]
        for name, field in model.get("properties", {}).items():  # a word of a table has none
            assert "description" in field, f"{model['title']}.{name}"


def test_every_parameter_and_part_of_the_tables_is_on_the_page(schema: dict[str, Any]) -> None:
    shown = {parameter["name"] for operation in operations(schema) for parameter in operation["parameters"]}
    others = {"txid", "artifact", "wait", "after", "X-Fields", "Idempotency-Key", "Last-Event-ID"}
    tables = {parameter.name for parameter in PARAMETERS} | {one.name for one in FILTERS}
    assert shown == tables | others
    forms = [
        operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        for operation in operations(schema)
        if "requestBody" in operation
    ]
    assert {part for form in forms for part in form["properties"]} == {part.part.value for part in PARTS}
    assert all(part["format"] == "binary" for form in forms for part in form["properties"].values())


def test_the_other_names_are_on_the_page(settings: Settings) -> None:
    text = served(settings).get("/openapi.json").text
    for name in ("omitted", "unprunable", "file"):
        assert f"`{name}`" in text


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_loads_from_this_host_only(settings: Settings, path: str) -> None:
    client = served(settings)
    page = client.get(path)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 4
    for asset in assets:
        assert asset.startswith("/docs/assets/")
        assert client.get(asset).status_code == 200
        # Asked for again, but not sent again.
        again = client.get(asset, headers={"If-None-Match": client.get(asset).headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


def test_a_refusal_leads_to_the_page_that_explains_it(settings: Settings) -> None:
    client = served(settings)
    refused = client.get("/api/jobs", params={"stat": "done"})
    assert refused.status_code == 400
    page = client.get(refused.json()["link"])
    assert page.status_code == 200
    assert "parameter_invalid" in page.text
    # The answer to a person who has no page says the same.
    assert refused.json()["remedy"] == ParameterInvalid.remedy
    assert client.get("/docs/errors").text.count("/docs/errors/") == len(BY_CODE)


def test_a_code_that_is_none_has_no_page(settings: Settings) -> None:
    refused = served(settings).get("/docs/errors/none%3Cscript%3E")
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_address")
