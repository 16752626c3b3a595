"""The page's own unit tests, bundled by its build tool and run by node's test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WEB = Path(__file__).parents[2] / "web"
ESBUILD = WEB / "node_modules/.bin/esbuild"


@pytest.mark.parametrize("source", sorted((WEB / "test").glob("*.test.ts")), ids=lambda path: path.name)
def test_the_pages_own_tests_pass(source: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not ESBUILD.exists():
        assert os.environ.get("CI") != "true", "node or the page's packages are not installed: npm ci in web/"
        pytest.skip("node or the page's packages are not installed: npm ci in web/")
    bundle = tmp_path / "tests.mjs"
    build = [str(ESBUILD), str(source), "--bundle", "--platform=node", "--format=esm", f"--outfile={bundle}"]
    subprocess.run(build, cwd=WEB, check=True, capture_output=True)
    ran = subprocess.run([node, "--test", str(bundle)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# pass 0" not in ran.stdout
