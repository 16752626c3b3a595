"""The page of a report in a real browser: it fetches and runs nothing, can be read in dark, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from coppice.pages import render
from coppice.records.report import Account
from tests.pages.accounts import EVIL, only_quantized, pruned_and_quantized, report, swept_by_precisions

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
@pytest.mark.parametrize(
    ("account", "tables", "picture"),
    [
        (report, 8, "kept 48 of 64"),
        (pruned_and_quantized, 15, "kept 48 of 64"),
        (only_quantized, 8, "int8: 87.5% of the bytes"),
        (swept_by_precisions, 3, "accuracy against file"),
    ],
)
def test_a_hostile_page_is_read_and_nothing_else(
    browser: Browser,
    tmp_path: Path,
    scheme: Literal["light", "dark"],
    width: int,
    account: Callable[[str], Account],
    tables: int,
    picture: str,
) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(account(EVIL)), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(file.as_uri())

    assert heard == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("table").count() == tables
    assert page.get_by_role("img", name=picture).first.is_visible()
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert contrast(ink, paper) >= 7  # WCAG 2.2, 1.4.6
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    page.close()


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours as the browser writes them."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
