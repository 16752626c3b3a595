"""Files on their way from the page to the service: shown, stopped, and what becomes of an ONNX model that arrived."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper
from playwright.sync_api import Browser, expect

from tests.browser.models import keras_file
from tests.browser.watched import watched
from tests.onnx.builders import between
from tests.serving import DEADLINE_SECONDS, Service

pytestmark = [pytest.mark.browser, pytest.mark.slow]
#: Bytes in a second: what is sent at that rate is still on its way when the next line of a test runs.
SLOW = 20_000

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


def test_an_onnx_model_is_dropped_inspected_pruned_and_taken_home(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(between(helper.make_node("Relu", ["a"], ["z"]), opset=17), str(file))
    with watched(browser, service) as page:
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files(file)
        expect(page.get_by_text("8 channels in 1 groups can go")).to_be_visible()
        page.get_by_label("Percent to remove").fill("0.5")
        page.get_by_role("button", name="Prune the model").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Model", exact=True).click()
        pruned = tmp_path / "pruned.onnx"
        download.value.save_as(pruned)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(str(pruned)).graph.initializer}
    assert (shapes["w1"][0], shapes["w2"][:2]) == (4, (4, 4))


def test_an_upload_is_shown_and_can_be_stopped(service: Service, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, service) as page:
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files(keras_file(tmp_path))
        expect(page.get_by_role("button", name="conv2d_1")).to_be_visible()
        before = service.client.get("/api/jobs").json()["jobs"]
        network = page.context.new_cdp_session(page)
        network.send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOW},
        )
        page.get_by_role("button", name="Prune the model").click()
        expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
        page.get_by_role("button", name="Stop sending").click()
        expect(page.get_by_role("button", name="Prune the model")).to_be_enabled()
        expect(page.get_by_role("alert")).to_have_count(0)
        assert service.client.get("/api/jobs").json()["jobs"] == before


def test_a_refusal_says_what_to_do_and_leads_to_its_page(service: Service, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, service, refused=True) as page:
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files(keras_file(tmp_path))
        page.get_by_label("Percent to remove").fill("1.5")
        page.get_by_role("button", name="Prune the model").click()
        refused = page.get_by_role("alert").filter(has_text="The service did not take the job")
        expect(refused).to_contain_text("0.5 removes half")
        with page.expect_popup() as opened:
            refused.get_by_role("link", name="percent_out_of_range").click()
        expect(opened.value.get_by_role("heading", level=1)).to_have_text("percent_out_of_range")
        expect(opened.value.get_by_role("heading", name="What to do")).to_be_visible()
