"""The page's journeys in a real browser, against the real service: drop, inspect, choose, follow, take home."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import h5py
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.browser.models import INPUT_SIZE, keras_file, pytorch_files
from tests.browser.watched import watched
from tests.serving import DEADLINE_SECONDS, Service, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CANCELLED = -2

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


def downloaded(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def txid_of(page: Page) -> str:
    page.wait_for_url(re.compile("#/jobs/.+"))
    return page.url.rpartition("/")[2]


def test_a_pytorch_model_is_dropped_inspected_pruned_and_taken_home(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    with watched(browser, service) as page:
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files(list(pytorch_files(tmp_path)))
        expect(page.get_by_label("Model name")).to_have_value("Net")
        expect(page.get_by_text("Still missing: input size.")).to_be_visible()
        page.get_by_label("Input size").fill(INPUT_SIZE)
        # Coupled by the addition in the block, and so one group.
        row = page.get_by_role("row").filter(has=page.get_by_role("button", name="block.conv"))
        expect(row.get_by_role("button", name="stem")).to_be_visible()
        page.get_by_role("button", name="stem").click()
        expect(page.get_by_role("button", name="stem")).to_have_attribute("aria-pressed", "true")
        expect(row).to_contain_text("stays whole, as you say")
        page.get_by_label("Percent to remove").fill("0.5")
        expect(page.get_by_text("about 10 of 30 channels go")).to_be_visible()
        page.screenshot(path=tmp_path / "form.png", full_page=True)

        page.get_by_role("button", name="Prune the model").click()
        expect(page.get_by_role("heading", name="Download")).to_be_visible()
        page.screenshot(path=tmp_path / "report.png", full_page=True)
        model, _info = torch_load(downloaded(page, "Model", tmp_path), tmp_path)
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        assert (shapes["stem.weight"], shapes["wide.weight"]) == ((10, 1, 3, 3), (10, 10, 3, 3))
        assert shapes["out.weight"] == (5, 10)
        with zipfile.ZipFile(downloaded(page, "Everything (zip)", tmp_path)) as bundle:
            assert any(name.endswith(".onnx") for name in bundle.namelist())
        # The address of a job works by itself.
        page.reload()
        expect(page.get_by_role("heading", name="net.pth")).to_be_visible()
        report = json.loads(downloaded(page, "Report (JSON)", tmp_path).read_bytes())
        assert (report["request"]["omit"], report["request"]["percent"]) == (["stem"], 0.5)


def torch_load(file: Path, class_folder: Path) -> tuple[torch.nn.Module, dict[str, object]]:
    sys.path.insert(0, str(class_folder))
    try:
        found: tuple[torch.nn.Module, dict[str, object]] = torch.load(file, weights_only=False)
        return found
    finally:
        sys.path.remove(str(class_folder))


def test_a_keras_model_is_pruned_with_the_keyboard_alone(service: Service, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, service, scheme="dark") as page:
        # From the first listener on the browser tells of choosers; asked for at the press of the key, that is too late.
        page.on("filechooser", lambda _chooser: None)
        page.goto(service.url)
        page.get_by_role("button", name="Choose files").wait_for()
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Choose files")).to_be_focused()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(keras_file(tmp_path))
        expect(page.get_by_role("button", name="conv2d_1")).to_be_visible()
        tab_to(page, "button", "conv2d_1")
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="conv2d_1")).to_have_attribute("aria-pressed", "true")
        tab_to(page, "button", "Prune the model")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Download")).to_be_visible()
        tab_to(page, "button", "Model")
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        pruned = tmp_path / "pruned.h5"
        download.value.save_as(pruned)
        with h5py.File(pruned) as file:
            # 40 % of the first convolution's 32 filters; the second's own are all there.
            assert file["model_weights/conv2d/conv2d/kernel:0"].shape == (3, 3, 1, 19)
            assert file["model_weights/conv2d_1/conv2d_1/kernel:0"].shape == (3, 3, 19, 64)


def tab_to(page: Page, role: str, name: str) -> None:
    """Press Tab until that has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
    for _ in range(100):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{name} can't be reached by Tab")


def test_a_broken_file_is_told_of_where_it_is_dropped_and_of_the_job(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    with watched(browser, service, refused=True) as page:
        page.goto(service.url)
        page.get_by_role("button", name="Choose files").wait_for()
        drop(page, "notes.txt", "a text")
        expect(page.get_by_text("notes.txt: no kind of file that the service takes.")).to_be_visible()
        drop(page, "broken.h5", "no HDF5 at all")
        problem = page.get_by_role("alert").filter(has_text="The model could not be inspected")
        expect(problem).to_be_focused()
        code = problem.locator(".codes code").first.inner_text()
        page.get_by_role("button", name="Prune the model").click()
        failed = page.get_by_role("alert").filter(has_text="The job failed")
        expect(failed).to_be_focused()
        expect(failed).to_contain_text(code)
        page.screenshot(path=tmp_path / "failed.png", full_page=True)
        status = service.status(txid_of(page))
        assert (status["status"], status["code"]) == (-1, code)
        assert failed.locator(".said").inner_text() == status["message"]

        # What was wrong is put right, and the rest of the form is still there.
        page.get_by_role("link", name="Change and run again").click()
        page.get_by_label("Percent to remove").fill("1.5")
        page.get_by_role("button", name="Prune the model").click()
        refused = page.get_by_role("alert").filter(has_text="The service did not take the job")
        expect(refused).to_contain_text("percent_out_of_range")
        expect(page.get_by_label("Percent to remove")).to_have_attribute("aria-invalid", "true")


def drop(page: Page, name: str, text: str) -> None:
    data = page.evaluate_handle(
        """([name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name));
            return data;
        }""",
        [name, text],
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": data})


def test_a_job_is_cancelled_where_it_runs(service: Service, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, service) as page:
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files(keras_file(tmp_path))
        page.get_by_role("radio", name="Sweep").check()
        page.get_by_role("textbox", name="Percents").fill(",".join(f"{number / 100}" for number in range(5, 85, 5)))
        page.get_by_role("button", name="Run the sweep").click()
        txid = txid_of(page)
        expect(page.get_by_role("progressbar")).to_be_visible()
        page.screenshot(path=tmp_path / "running.png")
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.locator(".badge")).to_have_text("cancelled")
        assert service.status(txid)["status"] == CANCELLED
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it and its files").click()
        page.wait_for_url(re.compile("#/jobs$"))
        assert service.status(txid)["code"] == "unknown_transaction"


def test_a_key_is_asked_for_once_where_the_service_wants_one(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, keys_required=True, workers=0)
    with serving(settings) as service:
        client_id, secret = Keys(service.settings).create("ann")
        page = browser.new_page(ignore_https_errors=True)
        page.set_default_timeout(DEADLINE_SECONDS * 1000)
        page.goto(f"{service.url}/#/jobs/cf06e766-2d20-41ec-931e-0242ac170002")
        dialog = page.get_by_role("dialog", name="API key")
        for given in ("wrong", secret):
            dialog.get_by_label("Client id").fill(client_id)
            dialog.get_by_label("Client secret").fill(given)
            dialog.get_by_role("button", name="Use this key").click()
            if given == "wrong":
                expect(dialog.get_by_role("alert")).to_contain_text("refused")
        expect(page.get_by_role("alert").filter(has_text="unknown_transaction")).to_be_visible()
        expect(dialog).to_be_hidden()
        page.reload()
        expect(page.get_by_role("alert").filter(has_text="unknown_transaction")).to_be_visible()
        expect(dialog).to_be_hidden()
        page.close()


def test_the_list_of_jobs_has_pages_and_cancels_what_waits(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, workers=0, jobs_per_client=50, calls_per_minute=100_000)
    with serving(settings) as service:
        model = keras_file(tmp_path).read_bytes()
        sent = [
            service.post("tf_prune", {"percent": f"0.{10 + number}"}, {"model": ("net.h5", model)}).json()["txid"]
            for number in range(22)
        ]
        with watched(browser, service) as page:
            page.goto(f"{service.url}/#/jobs")
            lines = page.locator(".jobs > li")
            expect(lines).to_have_count(20)
            expect(lines.first).to_contain_text("percent=0.31")
            page.get_by_role("button", name="Older").click()
            expect(lines).to_have_count(2)
            expect(page.get_by_role("button", name="Older")).to_be_disabled()
            lines.last.get_by_role("button", name="Cancel net.h5").click()
            lines.last.get_by_role("button", name="Cancel the job").click()
            expect(lines.last).to_contain_text("cancelled")
            assert [service.status(txid)["status"] for txid in sent[:2]] == [CANCELLED, 1]
            page.get_by_role("button", name="Newer").click()
            expect(lines).to_have_count(20)
