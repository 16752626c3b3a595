"""Every view of the page for everybody: axe-core finds nothing, light and dark, and nothing is wider than a phone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.models import INPUT_SIZE, pytorch_files
from tests.browser.watched import watched
from tests.serving import DONE, Service

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ASKED = {"input_size": INPUT_SIZE, "model_name": "Net"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def views(service: Service, folder: Path) -> Mapping[str, str]:
    """Name of a view -> its address."""
    weights, class_file, samples = ((file.name, file.read_bytes()) for file in pytorch_files(folder))
    files = {"weights": weights, "class_def": class_file, "dataset": samples}
    model = {"weights": weights, "class_def": class_file}
    sent = {
        "pruned": service.post("pt_prune", {**ASKED, "percent": "0.5"}, files),
        "pruned more": service.post("pt_prune", {**ASKED, "percent": "0.7", "precision": "int8"}, files),
        "swept": service.post("pt_sweep", {**ASKED, "percents": "0.3,0.6"}, files),
        "inspected": service.post("inspect", ASKED, model),
        "failed": service.post("pt_prune", {**ASKED, "percent": "0.5", "ommitted": "nowhere"}, model),
    }
    txids = {name: answer.json()["txid"] for name, answer in sent.items()}
    for name, txid in txids.items():
        assert (service.end(txid)["status"] == DONE) == (name != "failed")
    return {
        "new": "#/",
        "jobs": "#/jobs",
        **{name: f"#/jobs/{txid}" for name, txid in txids.items()},
        "compared": f"#/compare/{txids['pruned']}/{txids['pruned more']}",
    }


#: View -> what is there once it is whole.
WHOLE: Mapping[str, str] = {
    "new": "Choose files",
    "jobs": "net.pth",
    "pruned": "Download",
    "pruned more": "Download",
    "swept": "Download",
    "inspected": "Download",
    "failed": "unknown_layer",
    "compared": "net.pth",
}


@pytest.mark.parametrize("view", WHOLE)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_a_view_is_for_everybody(
    service: Service,
    browser: Browser,
    axe: str,
    views: Mapping[str, str],
    view: str,
    scheme: Literal["light", "dark"],
    width: int,
    tmp_path: Path,
) -> None:
    with watched(browser, service, scheme=scheme, width=width) as page:
        page.goto(f"{service.url}/{views[view]}")
        expect(page.get_by_text(re.compile(re.escape(WHOLE[view]))).first).to_be_visible()
        if view == "new":
            fill(page, tmp_path)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=tmp_path / "view.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe)
        found = page.evaluate("axe.run().then(found => found.violations)")
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def fill(page: Page, folder: Path) -> None:
    """The form with a model in it, inspected, and everything opened."""
    page.get_by_test_id("files").set_input_files(list(pytorch_files(folder)))
    page.get_by_label("Input size").fill(INPUT_SIZE)
    page.get_by_role("button", name="stem").click()
    page.get_by_text("More options").click()
    page.get_by_text("What stays in any case").click()
    page.get_by_text("The same from a terminal or a program").click()
