"""One real service for the whole folder; every upload of every table is sent at once, so that no worker stands idle."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.case import QUERY, SETTINGS, Case, End
from tests.hostile.neighbours import EVERY, GOOD, good
from tests.serving import FAILED, Service, serving

ROOT = Path(__file__).parents[2]

#: A test that sends its own job does not wait for two hundred others.
LAST = {"priority": "low"}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("hostile") / "data"
    with serving(SETTINGS.model_copy(update={"data_dir": data})) as running:
        yield running


@pytest.fixture(scope="session")
def among() -> dict[int, str]:
    """The transactions of good jobs that were sent among all the others, by their number."""
    return {}


@pytest.fixture(scope="session")
def sent(
    service: Service, among: dict[int, str], request: pytest.FixtureRequest
) -> Mapping[str, tuple[int, dict[str, Any]]]:
    """The answer to every upload of the tests that were chosen, by test."""
    answers = {}
    for item in request.session.items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]  # only functions have one
        if isinstance(case, Case):
            answer = service.post(case.call, {**case.query, **LAST}, case.files())
            answers[item.nodeid] = answer.status_code, answer.json()
            if len(among) < GOOD and len(answers) % EVERY == 0:
                among[len(among)] = service.post("pt_prune", {**QUERY, **LAST}, good(len(among))).json()["txid"]
    return answers


@pytest.fixture
def end(service: Service, sent: Mapping[str, tuple[int, dict[str, Any]]], request: pytest.FixtureRequest) -> End:
    """How the upload of this very test ended."""
    http, answer = sent[request.node.nodeid]
    status = None
    if http == 200:
        answer = service.end(answer["txid"])
        status = answer["status"]
    return End(http=http, status=status, code=answer.get("code"), message=answer["message"])


@pytest.fixture
def words_of_the_host(service: Service) -> tuple[str, ...]:
    """What stands in no message: paths of this machine, our stack, the content of its files."""
    paths = {str(service.settings.data_dir.parent), str(ROOT), sys.prefix, sys.base_prefix, f"{Path.home()}/"}
    return (*paths, "site-packages", "/boxes/", "coppice/", "Traceback (most recent", "root:x:0:0")


@pytest.fixture
def refused(end: End, words_of_the_host: tuple[str, ...], request: pytest.FixtureRequest) -> End:
    """The end of this test's upload, held to what every refusal has in common."""
    case = request.getfixturevalue("case")
    assert (end.code, end.http) == (case.code, case.http or 200), end.message
    assert end.status == (FAILED if case.http is None else None)
    assert [words for words in case.says if words not in end.message] == [], end.message
    assert [words for words in words_of_the_host if words in end.message] == [], end.message
    return end
