"""Every code has a page that says what the class says, and nothing that needs escaping by its reader."""

from __future__ import annotations

import re
from html import unescape

import pytest

from coppice.errors import BY_CODE, BadUpload, CoppiceError
from coppice.pages import render_error, render_errors

_TAG = re.compile(r"<[^>]*>")


def shown(page: str) -> str:
    """The words of a page."""
    return unescape(_TAG.sub("", page[page.index("<body>") :]))


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=BY_CODE.keys())
def test_the_page_of_a_code_says_what_to_do(kind: type[CoppiceError]) -> None:
    words = shown(render_error(kind))
    for told in (kind.code, kind.cause, kind.remedy, f"HTTP status {kind.http_status}, exit code {kind.exit_code}"):
        assert told.replace("`", "") in words


def test_the_page_of_a_family_leads_to_its_kinds_and_no_others() -> None:
    links = re.findall(r'href="/docs/errors/(\w+)"', render_error(BadUpload))
    assert set(links) == {
        code for code, kind in BY_CODE.items() if kind.http_status in (408, 413, 415, 422) and kind.exit_code == 3
    } - {"bad_upload"}


def test_the_page_of_all_codes_leads_to_each() -> None:
    assert re.findall(r'href="/docs/errors/(\w+)"', render_errors()) == list(BY_CODE)


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=BY_CODE.keys())
def test_every_error_is_explained_by_its_own_class(kind: type[CoppiceError]) -> None:
    for words in ("cause", "remedy"):
        assert words in vars(kind), f"{kind.code} has only its family's {words}"
        assert vars(kind)[words].endswith(".")
        assert vars(kind)[words].count("`") % 2 == 0
