"""Every error of the tree can be met, and what is then said can be acted on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from coppice.errors import BY_CODE, CoppiceError
from coppice.settings import Settings
from tests.errors.elsewhere import ELSEWHERE
from tests.errors.in_python import IN_PYTHON
from tests.errors.over_http import OVER_HTTP
from tests.http.conftest import settings

__all__ = ["settings"]  # a fixture

_ROOT = Path(__file__).parents[2]

#: The hub whose calls the service takes says it in these words, without a stop.
_WORDS_OF_THE_CONTRACT = {"No transaction submitted for txid"}


@pytest.mark.parametrize("code", IN_PYTHON)
def test_an_error_in_python_says_what_to_do(code: str, tmp_path: Path) -> None:
    with pytest.raises(CoppiceError) as caught:
        IN_PYTHON[code](tmp_path)
    assert caught.value.code == code, caught.value.message
    _can_be_acted_on(caught.value.as_dict(), tmp_path)


@pytest.mark.parametrize("code", OVER_HTTP)
def test_an_error_of_the_service_says_what_to_do(code: str, settings: Settings) -> None:
    answer = OVER_HTTP[code](settings)
    body = answer.json()
    assert (body["code"], answer.status_code) == (code, BY_CODE[code].http_status), body
    _can_be_acted_on(body, settings.data_dir)


@pytest.mark.parametrize("code", ELSEWHERE)
def test_the_test_that_meets_it_is_there(code: str) -> None:
    file, name = ELSEWHERE[code].split("::")
    source = (_ROOT / file).read_text(encoding="utf-8")
    assert name in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert code in source or re.search(rf"\b{BY_CODE[code].__name__}\b", source), f"{file} does not speak of {code}"


def test_each_error_is_met_once() -> None:
    leaves = {code for code, kind in BY_CODE.items() if not kind.__subclasses__()}
    met = [*IN_PYTHON, *OVER_HTTP, *ELSEWHERE]
    assert (leaves - set(met), set(met) - leaves) == (set(), set())
    assert len(set(met)) == len(met)


def _can_be_acted_on(told: dict[str, object], folder: Path) -> None:
    message = str(told["message"])
    # What is quoted of the user's code may stand last, in parentheses.
    assert message.endswith((".", "?", "!", ")")) or message in _WORDS_OF_THE_CONTRACT, message
    assert "Traceback" not in message
    assert str(folder) not in message
    assert str(_ROOT) not in message
    assert told["cause"]
    assert told["remedy"]
    assert told["link"] == f"/docs/errors/{told['code']}"
    if "field" in told:
        assert str(told["field"])
