"""What the page shows of finished jobs, in a real browser: read back, and held to the reports of the same jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from coppice.records.report import Report
from coppice.records.sweep import Axis, Sweep
from coppice.settings import Settings
from tests.browser.models import INPUT_SIZE, keras_file, pytorch_files
from tests.browser.watched import watched
from tests.serving import DEADLINE_SECONDS, DONE, Service, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: The checker of WCAG's rules, as the page's own build pins it.
expect.set_options(timeout=DEADLINE_SECONDS * 1000)
TORCH = {"input_size": INPUT_SIZE, "model_name": "Net"}


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """A service whose jobs are done."""

    service: Service
    keras: str
    torch: str
    half: str
    sweep: str
    other_sweep: str

    def artifact(self, txid: str, name: str) -> str:
        answer = self.service.client.get("/api/download", params={"txid": txid, "artifact": name})
        assert answer.status_code == 200, answer.text
        return answer.text

    def report(self, txid: str) -> Report:
        return Report.model_validate_json(self.artifact(txid, "report"))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("results")
    weights, class_file, samples = pytorch_files(folder)
    torch_files = {
        "weights": (weights.name, weights.read_bytes()),
        "class_def": (class_file.name, class_file.read_bytes()),
        "dataset": (samples.name, samples.read_bytes()),
    }
    keras = keras_file(folder)
    with serving(Settings(data_dir=folder / "data", port=0, calls_per_minute=100_000)) as service:

        def done(call: str, query: dict[str, str], files: dict[str, tuple[str, bytes]]) -> str:
            answer = service.post(call, query, files)
            assert answer.status_code == 200, answer.text
            txid = str(answer.json()["txid"])
            end = service.end(txid)
            assert end["status"] == DONE, end
            return txid

        yield Jobs(
            service=service,
            keras=done("tf_prune", {"percent": "0.4"}, {"model": (keras.name, keras.read_bytes())}),
            torch=done("pt_prune", {**TORCH, "percent": "0.3", "precision": "int8"}, torch_files),
            half=done("pt_prune", {**TORCH, "percent": "0.5"}, torch_files),
            sweep=done("pt_sweep", {**TORCH, "percents": "0.2,0.4,0.6"}, torch_files),
            other_sweep=done("pt_sweep", {**TORCH, "percents": "0.3,0.7", "criterion": "l1"}, torch_files),
        )


def rows(table: Locator) -> list[list[str]]:
    """The cells of a table's body, those of a folded one, too."""
    found: list[list[str]] = table.evaluate(
        "table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def table(page: Page, caption: str) -> Locator:
    found = page.locator("table").filter(has=page.locator("caption", has_text=caption)).first
    found.wait_for(state="attached")
    return found


def test_the_report_of_a_keras_model_shows_the_figures_of_its_json(jobs: Jobs, browser: Browser) -> None:
    report = jobs.report(jobs.keras)
    assert report.before.parameters == sum(layer.before.parameters for layer in report.layers)
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs/{jobs.keras}")
        won = page.get_by_role("region", name="What was won")
        expect(won).to_contain_text(f"{report.before.parameters:,} → {report.after.parameters:,}")
        expect(won).to_contain_text(f"{report.after.parameters / report.before.parameters:.1%}")
        assert rows(table(page, "Channels of each group")) == [
            [
                f"{group.name} +{len(group.layers) - 1}" if len(group.layers) > 1 else group.name,
                f"{group.channels:,}",
                f"{group.channels - group.removed:,}",
                f"{1 - group.removed / group.channels:.1%}",
                *([group.reason or ""] if any(one.reason for one in report.groups) else []),
            ]
            for group in report.groups
        ]
        assert [row[:3] for row in rows(table(page, "Parameters of each layer"))] == [
            [layer.name, f"{layer.before.parameters:,}", f"{layer.after.parameters:,}"] for layer in report.layers
        ]
        page.get_by_role("radio", name="MACs").check()
        assert [row[:3] for row in rows(table(page, "MACs of each layer"))] == [
            [layer.name, f"{layer.before.macs:,}", f"{layer.after.macs:,}"] for layer in report.layers
        ]
        expect(page.get_by_role("region", name="How it was verified")).to_contain_text("exact")


def test_quality_at_three_stages_and_the_quantized_file_are_shown(jobs: Jobs, browser: Browser) -> None:
    report = jobs.report(jobs.torch)
    assert report.quality
    assert report.quantized
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs/{jobs.torch}")
        quality = report.quality
        shown = rows(table(page, "Quality at the three stages"))
        assert [row[:3] for row in shown] == [
            [name, f"{one.accuracy:.1%}", f"{one.agreement:.1%}"]
            for name, one in (("original", quality.before), ("cut", quality.cut), ("given back", quality.restored))
        ]
        small = page.get_by_role("region", name="The quantized file")
        expect(small).to_contain_text(f"{report.quantized.float_file_bytes:,} → {report.quantized.file_bytes:,}")
        assert [row[1] for row in rows(table(page, "Bytes of the tensors"))] == [
            f"{count:,}" for count in report.quantized.bytes_by_type.values()
        ]


def test_points_of_a_curve_are_reached_by_keyboard_and_taken_home(jobs: Jobs, browser: Browser, tmp_path: Path) -> None:
    sweep = Sweep.model_validate_json(jobs.artifact(jobs.sweep, "curve"))
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs/{jobs.sweep}")
        dots = page.locator("button.dot")
        expect(dots).to_have_count(len(sweep.points))
        expect(page.locator("button.dot.front")).to_have_count(
            sum(Axis.PARAMETERS in one.front for one in sweep.points)
        )
        dot = page.get_by_role("button", name="40% removed:")
        dot.focus()
        page.keyboard.press("Enter")
        expect(dot).to_have_attribute("aria-pressed", "true")
        point = next(point for point in sweep.points if point.percent == 0.4)
        expect(page.locator(".chosen")).to_contain_text(f"parameters {point.shares[Axis.PARAMETERS]:.1%}")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download model_40", exact=True).click()
        file = tmp_path / "model"
        download.value.save_as(file)
        answer = jobs.service.client.get("/api/download", params={"txid": jobs.sweep, "artifact": "model_40"})
        assert file.read_bytes() == answer.content
        page.get_by_role("radio", name="MACs").check()
        expect(page.get_by_role("img", name="against the MACs")).to_be_visible()


def test_two_jobs_are_picked_from_the_list_and_compared(jobs: Jobs, browser: Browser) -> None:
    one, other = jobs.report(jobs.half), jobs.report(jobs.torch)
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs")
        lines = page.locator(".jobs > li")
        expect(lines).to_have_count(5)
        for wanted in ("percent=0.5", "percent=0.3"):
            lines.filter(has_text=wanted).get_by_role("checkbox").check()
        page.get_by_role("button", name="Compare 2 of 2").click()
        shown = {row[0]: row[1:] for row in rows(table(page, "Parameters and files that differ"))}
        assert shown == {"percent": ["0.5", "0.3"], "precision": ["\N{EN DASH}", "int8"]}
        cost = rows(table(page, "Of each model given back, and"))[0]
        assert [text.split()[0] for text in cost[1:]] == [f"{one.after.parameters:,}", f"{other.after.parameters:,}"]
        kept = rows(table(page, "Channels that A and B keep"))
        assert [row[1:] for row in kept] == [
            [str(a.channels - a.removed), str(b.channels - b.removed)]
            for a, b in zip(one.groups, other.groups, strict=True)
        ]


def test_two_sweeps_are_drawn_in_one_chart(jobs: Jobs, browser: Browser, tmp_path: Path) -> None:
    curves = [Sweep.model_validate_json(jobs.artifact(txid, "curve")) for txid in (jobs.sweep, jobs.other_sweep)]
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs")
        lines = page.locator(".jobs > li")
        for wanted in ("percents=0.2,0.4,0.6", "percents=0.3,0.7"):
            lines.filter(has_text=wanted).get_by_role("checkbox").check()
        page.get_by_role("button", name="Compare 2 of 2").click()
        picture = page.get_by_role("img", name="of A and B against the parameters")
        expect(picture).to_be_visible()
        shown = rows(table(page, "Points of both sweeps"))
        assert [[row[1], row[2]] for row in shown] == [
            [name, f"{share:.1%}"]
            for name, sweep in zip("AB", curves, strict=True)
            for share in sorted(point.shares[Axis.PARAMETERS] for point in sweep.points)
        ]
        page.screenshot(path=tmp_path / "sweeps.png", full_page=True)
        page.get_by_role("radio", name="MACs").check()
        expect(page.get_by_role("img", name="of A and B against the MACs")).to_be_visible()
        # A single result beside a curve has nothing in common to draw.
        page.goto(f"{jobs.service.url}/#/compare/{jobs.sweep}/{jobs.half}")
        expect(page.get_by_text("A sweep is compared with a sweep")).to_be_visible()


def test_a_job_is_deleted_from_the_list_after_a_second_look(jobs: Jobs, browser: Browser) -> None:
    refused = jobs.service.post("tf_prune", {"percent": "0.4"}, {"model": ("broken.h5", b"no model")}).json()["txid"]
    jobs.service.end(refused)
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs")
        page.get_by_label("State").select_option("failed")
        line = page.locator(".jobs > li")
        expect(line).to_have_count(1)
        line.get_by_role("button", name="Delete broken.h5").click()
        assert jobs.service.status(refused)["status"] < DONE
        line.get_by_role("button", name="Delete it and its files").click()
        expect(page.get_by_text("No jobs that are failed")).to_be_visible()
        assert jobs.service.status(refused)["code"] == "unknown_transaction"


def test_calls_are_copied_without_a_key(jobs: Jobs, browser: Browser) -> None:
    with watched(browser, jobs.service) as page:
        page.goto(f"{jobs.service.url}/#/jobs/{jobs.keras}")
        tab = page.get_by_role("tab", name="curl")
        expect(page.get_by_role("tabpanel")).to_contain_text("/api/tf_prune?percent=0.4")
        tab.focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tabpanel")).to_contain_text("coppice prune mnist_base.h5 --percent 0.4 -o pruned")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tabpanel")).to_contain_text('client.prune_keras("mnist_base.h5", percent=0.4)')
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("status").filter(has_text="Copied")).to_be_attached()
        assert "import coppice" in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_every_view_is_accessible_and_fits(
    jobs: Jobs, browser: Browser, axe: str, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    views = {
        "keras": f"jobs/{jobs.keras}",
        "torch": f"jobs/{jobs.torch}",
        "sweep": f"jobs/{jobs.sweep}",
        "jobs": "jobs",
        "compare": f"compare/{jobs.half}/{jobs.torch}",
        "sweeps": f"compare/{jobs.sweep}/{jobs.other_sweep}",
    }
    broken: dict[str, Any] = {}
    with watched(browser, jobs.service, width=width, scheme=scheme) as page:
        for name, address in views.items():
            page.goto(f"{jobs.service.url}/#/{address}")
            page.locator(".jobs > li" if name == "jobs" else ".plot svg").first.wait_for()
            if name == "sweep":
                page.locator("button.dot").nth(1).click()
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            broken |= {f"{name}: {rule}": what for rule, what in violations(page, axe).items()}
    assert broken == {}


def violations(page: Page, axe: str) -> dict[str, Any]:
    """Rule -> what breaks it; the page's own policy lets no script in, so it comes by the debugger's way."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations.map(one => [one.id, one.nodes.map(n => n.html)])")
    return {str(rule): json.dumps(nodes) for rule, nodes in found}
