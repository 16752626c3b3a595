"""Calls that nobody would think of, made from the OpenAPI description: every answer is one that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from coppice.jobs.desk import Desk
from coppice.jobs.keys import ANONYMOUS
from coppice.settings import Settings
from coppice.storage import StoredFile
from tests.http.process import Served, api_process
from tests.jobs.job_processes import REQUEST

pytestmark = pytest.mark.slow

SHAPE = "response_schema_conformance"
#: That it is no fault of ours, and that status, type, body and headers are as described.
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    SHAPE,
    "response_headers_conformance",
)
#: Of each call and each way to make it up. A call that takes a file takes 5 ms, an event stream ends by itself.
EXAMPLES = 12


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with api_process(Settings(data_dir=folder / "data", port=0, tls=False, calls_per_minute=1_000_000)) as served:
        yield served


@pytest.fixture(scope="module")
def ended(api: Served) -> str:
    """A job that has ended, so that nothing that is asked of it has to wait."""
    desk, txid = Desk(api.settings), str(uuid4())
    upload = StoredFile(key=f"uploads/{txid}/model/net.h5", size=3, sha256="0" * 64)
    desk.submit(txid=txid, client=ANONYMOUS, request=REQUEST, uploads=[upload])
    desk.cancel(txid, ANONYMOUS)
    return txid


@pytest.fixture(scope="module")
def description(api: Served) -> Any:
    return schemathesis.openapi.from_dict(httpx.get(f"{api.url}/openapi.json").json())


def labels() -> list[str]:
    """The calls, before there is a service to ask: a test holds them to its description."""
    from coppice.http.routes import ADDRESSES

    return sorted({f"{method} {path}" for method, path in ADDRESSES.values()} | {"DELETE /api/jobs"})


def test_every_call_is_made(description: Any) -> None:
    found = {operation.ok().label for operation in description.get_all_operations()}
    assert found == set(labels())


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["described", "wrong"])
@pytest.mark.parametrize("label", labels())
def test_every_answer_is_a_described_one(
    label: str, mode: GenerationMode, api: Served, ended: str, description: Any
) -> None:
    method, path = label.split()
    operation = description[path][method]
    checks = {masked: CHECKS.get_by_names([name for name in NAMES if not masked or name != SHAPE]) for masked in (0, 1)}
    takes_txid = any(parameter.name == "txid" for parameter in operation.query)

    @hypothesis.seed(6)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), known=strategies.booleans())
    def call(case: Any, known: bool) -> None:
        if known and takes_txid and isinstance(case.query, dict) and label != "POST /api/delete":
            case.query["txid"] = ended
        response = case.call(base_url=api.url, timeout=60)
        # A mask of fields leaves out what the description calls required: that is what it is for.
        case.validate_response(response, checks=checks["X-Fields" in (case.headers or {})])

    call()
