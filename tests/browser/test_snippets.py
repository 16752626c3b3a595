"""The calls that the page offers for copying are run as they stand, where the files are: each makes the same cut."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, expect

from coppice.settings import Settings
from tests.browser.models import INPUT_SIZE, pytorch_files
from tests.browser.watched import watched
from tests.serving import DEADLINE_SECONDS, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


def run(*command: str, folder: Path) -> str:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": programs}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_copied_runs_and_cuts_the_same(browser: Browser, tmp_path: Path) -> None:
    weights, class_file, _samples = pytorch_files(tmp_path)
    with (
        serving(Settings(data_dir=tmp_path / "data", port=0, calls_per_minute=100_000)) as service,
        watched(browser, service) as page,
    ):
        page.goto(service.url)
        page.get_by_test_id("files").set_input_files([weights, class_file])
        page.get_by_label("Input size").fill(INPUT_SIZE)
        page.get_by_role("button", name="stem").click()
        page.get_by_role("button", name="Prune the model").click()
        expect(page.get_by_role("heading", name="Download")).to_be_visible()
        texts = {}
        for kind in ("curl", "Command line", "Python"):
            page.get_by_role("tab", name=kind).click()
            texts[kind] = page.locator(".snippet code").inner_text()

        sent = json.loads(run("bash", "-c", texts["curl"], folder=tmp_path))
        assert service.end(sent["txid"])["status"] == 0
        state_dict = {"txid": sent["txid"], "artifact": "state_dict"}
        (tmp_path / "by_curl.pth").write_bytes(service.client.get("/api/download", params=state_dict).content)
        run(*shlex.split(texts["Command line"]), folder=tmp_path)
        run(sys.executable, "-c", texts["Python"], folder=tmp_path)
    cut = [
        torch.load(file)
        for file in (
            tmp_path / "by_curl.pth",
            *(tmp_path / "pruned").glob("*state_dict.pth"),
            *(tmp_path / "result").glob("*state_dict.pth"),
        )
    ]
    assert len(cut) == 3
    assert cut[0]["wide.weight"].shape == (12, 10, 3, 3)
    assert all(torch.equal(tensor, other[name]) for other in cut[1:] for name, tensor in cut[0].items())
