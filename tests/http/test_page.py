"""The page at `/`: its three files, what a browser may load for it, and how little it weighs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.http.service import served

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "coppice/http/static/app"
#: What the page may weigh in all, unpacked.
MOST_BYTES = 500_000


def test_the_page_and_what_it_loads_are_this_services_own(settings: Settings) -> None:
    client = served(settings)
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assets = [asset for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not asset.startswith("data:")]
    assert assets == ["/app/app.css", "/app/app.js", "/docs"]
    for asset in assets:
        assert client.get(asset).status_code == 200


@pytest.mark.parametrize("address", ["/", "/app/app.js", "/app/app.css"])
def test_a_file_comes_packed_and_once(settings: Settings, address: str) -> None:
    client = served(settings)
    packed = client.get(address, headers={"Accept-Encoding": "gzip"})
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content)
    again = client.get(address, headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-cache")


def test_the_page_is_light() -> None:
    assert sum(file.stat().st_size for file in BUILT.iterdir()) < MOST_BYTES


@pytest.mark.slow
def test_the_page_is_what_its_sources_make(tmp_path: Path, needs_npm: None) -> None:
    copy = tmp_path / "coppice"
    for part in ("web", "scripts/web", "docs/reference", "coppice/http/static/app"):
        source, target = ROOT / part, copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copy2(source, target)
    done = subprocess.run([copy / "scripts/web"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = copy / "coppice/http/static/app"
    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        file.name: file.read_bytes() for file in BUILT.iterdir()
    }
    assert (copy / "web/src/records.ts").read_bytes() == (ROOT / "web/src/records.ts").read_bytes()


@pytest.fixture
def needs_npm() -> None:
    if shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("npm is not installed")
        pytest.skip("npm is not installed")
