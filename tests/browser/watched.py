"""A page of the browser that hears what goes wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from tests.serving import DEADLINE_SECONDS, Service


@contextmanager
def watched(
    browser: Browser,
    service: Service,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    refused: bool = False,
) -> Iterator[Page]:
    """A new page; after the block, what it said on its console and whom it asked must be nothing and nobody else.

    `refused`: the service refuses a call on the way, which the browser says on the console by itself.
    """
    page = browser.new_page(
        ignore_https_errors=True, color_scheme=scheme, viewport={"width": width, "height": 900}, accept_downloads=True
    )
    page.set_default_timeout(DEADLINE_SECONDS * 1000)
    complaints: list[str] = []
    asked: set[str] = set()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    yield page
    page.close()
    if refused:
        complaints = [said for said in complaints if "the server responded with a status of 4" not in said]
    assert not complaints
    assert asked - {"", urlsplit(service.url).netloc} == set()
