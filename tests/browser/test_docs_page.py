"""The Swagger page in a real browser, against the real service: open, upload, read the txid, poll, download.

Screenshots of the way lie in the test's temporary folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h5py
import pytest
from playwright.sync_api import Locator, Page

from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.browser.chromium import chromium
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential
from tests.serving import DEADLINE_SECONDS, DONE, Service, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path / "data", port=0)) as service:
        yield service


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(ignore_https_errors=True, viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(DEADLINE_SECONDS * 1000)
        yield page


def opened(page: Page, call: str) -> Locator:
    """The block of a call, opened."""
    block = page.locator(f"[id$='-{call}'].opblock")
    block.locator(".opblock-summary-control").first.click()
    block.locator("button.execute").wait_for()
    return block


def executed(block: Locator) -> dict[str, Any]:
    """Press Execute; the JSON that the page shows as the answer."""
    # An answer of before would be taken for the new one.
    if block.locator("button.btn-clear").count():
        block.locator("button.btn-clear").click()
    block.locator("button.execute").click()
    shown = block.locator(".live-responses-table .response-col_description pre").first
    found: dict[str, Any] = json.loads(shown.inner_text())
    return found


def fill(block: Locator, parameter: str, text: str) -> None:
    block.locator(f"tr[data-param-name='{parameter}'] input").fill(text)


def test_a_model_is_sent_followed_and_downloaded_from_the_page(service: Service, page: Page, tmp_path: Path) -> None:
    model = tmp_path / "mnist_base.h5"
    model.write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

    page.goto(f"{service.url}/docs")
    send = opened(page, "tf_prune")
    assert send.locator("tr[data-param-name='percent'] input").input_value() == "0.4"
    send.locator("tr:has-text('model') input[type=file]").first.set_input_files(model)
    page.screenshot(path=tmp_path / "send.png")
    answer = executed(send)
    page.screenshot(path=tmp_path / "sent.png", full_page=True)
    assert answer["message"] == "Successfully submitted transaction."

    follow = opened(page, "status")
    fill(follow, "txid", answer["txid"])
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (status := executed(follow))["status"] > DONE:
        assert time.monotonic() < deadline, status
        page.wait_for_timeout(500)
    assert status["status"] == DONE, status
    assert "Total params: 32,457" in status["message"]

    fetch = opened(page, "download")
    fill(fetch, "txid", answer["txid"])
    fetch.locator("button.execute").click()
    link = fetch.locator(".live-responses-table a[download]")
    assert link.inner_text() == "Download file"
    with page.expect_download() as download:
        link.click()
    page.screenshot(path=tmp_path / "downloaded.png", full_page=True)
    assert download.value.suggested_filename == status["filename"]
    pruned = tmp_path / status["filename"]
    download.value.save_as(pruned)
    with h5py.File(pruned) as file:
        # 40 % of the first convolution's 32 filters are gone, as the issue counts them.
        assert file["model_weights/conv2d/conv2d/kernel:0"].shape == (3, 3, 1, 19)

    own = urlsplit(service.url).netloc
    others = {url for url in requested if urlsplit(url).netloc != own and urlsplit(url).scheme not in ("blob", "data")}
    assert not others
    assert not complaints


def test_a_key_is_given_once_for_all_calls_of_the_page(page: Page, tmp_path: Path) -> None:
    with serving(Settings(data_dir=tmp_path / "data", port=0, keys_required=True, workers=0)) as service:
        client_id, secret = Keys(service.settings).create("ann")
        page.goto(f"{service.url}/docs")
        follow = opened(page, "status")
        fill(follow, "txid", "1")
        assert executed(follow)["code"] == "key_invalid"
        page.locator("button.authorize").click()
        for name, value in (("X-IBM-Client-Id", client_id), ("X-IBM-Client-Secret", secret)):
            scheme = page.locator(".auth-container", has_text=name)
            scheme.locator("input").fill(value)
            scheme.locator("button.authorize").click()
        page.locator("button.btn-done").first.click()
        assert executed(follow)["code"] == "unknown_transaction"


def test_both_files_of_a_pytorch_model_and_the_second_prefix(service: Service, page: Page, tmp_path: Path) -> None:
    """What is sent is the point here; the class file is wrong, so that the job ends at once with its reason."""
    weights, class_file = tmp_path / "mnist_cnn.pth", tmp_path / "model.py"
    weights.write_bytes(b"no tensors")
    class_file.write_text("class Net: pass")
    page.goto(f"{service.url}/docs")
    page.locator(".servers select").select_option("/edgeai/run")
    send = opened(page, "pt_prune")
    send.locator("tr[data-property-name=weights] input, tr:has-text('weights') input[type=file]").first.set_input_files(
        weights
    )
    send.locator(
        "tr[data-property-name=class_def] input, tr:has-text('class_def') input[type=file]"
    ).first.set_input_files(class_file)
    page.screenshot(path=tmp_path / "pytorch.png", full_page=True)
    txid = executed(send)["txid"]
    assert service.end(txid)["code"] != "internal_error"
    follow = opened(page, "status")
    fill(follow, "txid", txid)
    assert executed(follow)["status"] == "-1"
