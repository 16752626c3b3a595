"""The pages of docs/ are true: what they tell a reader to type works, in that order, and their links lead somewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.documentation.walkthrough import ADDRESS, DOCS, ROOT, before, environments, pages, path_of_ours, script
from tests.serving import Service, serving

Follow = Callable[[Path], Path]


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


TO_FOLLOW = [page for page in pages() if script(page)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("pages") / "data", port=0)) as running:
        yield running


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Follow:
    """Follows a page in a folder of its own, with what the pages before it made; each of these once."""

    @cache
    def folder_after(page: Path) -> Path:
        folder = tmp_path_factory.mktemp(page.stem)
        earlier = before(page)
        if earlier is not None:
            shutil.copytree(folder_after(earlier), folder, dirs_exist_ok=True)
        typed = script(page)
        if ADDRESS in typed:
            typed = typed.replace(ADDRESS, request.getfixturevalue("service").url)
        done = subprocess.run(
            ["bash", "-c", typed],
            cwd=folder,
            env={"PATH": path_of_ours(), "HOME": str(folder), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return folder

    return folder_after


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in TO_FOLLOW if not environments(page)], ids=_name)
def test_a_reader_can_follow(page: Path, follow: Follow) -> None:
    follow(page)


@pytest.mark.dialects
@pytest.mark.parametrize("page", [page for page in TO_FOLLOW if environments(page)], ids=_name)
def test_a_reader_with_tensorflow_can_follow(page: Path, follow: Follow) -> None:
    follow(page)


def test_the_site_builds_and_every_link_leads_to_something(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    found = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Coppice" in (tmp_path / "site" / "quickstart" / "index.html").read_text()
    assert not list((tmp_path / "site").rglob("*.py"))


def test_every_page_is_in_the_navigation() -> None:
    shown = (ROOT / "mkdocs.yml").read_text()

    assert not [_name(page) for page in DOCS.rglob("*.md") if _name(page) not in shown and "errors/" not in _name(page)]
