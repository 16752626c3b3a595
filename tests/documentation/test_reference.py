"""The written reference is the code's, all of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from coppice import keras_layers, rules
from coppice.cli.serve import flag
from coppice.criteria import CRITERIA
from coppice.errors import BY_CODE
from coppice.http.routes import ADDRESSES
from coppice.settings import Settings
from docs import generate, picture

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_is_what_the_code_says_now(name: str) -> None:
    assert (REFERENCE / name).read_text() == generate.PAGES[name](), "run `make reference`"


def test_there_is_no_page_of_something_that_is_gone() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(generate.PAGES)


def test_the_picture_is_what_its_script_draws() -> None:
    assert picture.FILE.read_text() == picture.picture()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("settings.md", [*Settings.model_fields, *(flag(name) for name in Settings.model_fields)]),
        ("errors.md", BY_CODE),
        ("criteria.md", CRITERIA),
        ("rules.md", [name.removeprefix("aten::") for name in rules.RULES]),
        ("keras-layers.md", keras_layers.LAYERS),
        ("http.md", [f"{method} {address}" for method, address in ADDRESSES.values()]),
    ],
)
def test_everything_of_a_table_is_on_its_page(page: str, names: list[str]) -> None:
    text = (REFERENCE / page).read_text()

    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_architecture_lists_every_file_of_the_package_and_nothing_else() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert text == generate.with_tree(text), "run `make reference`"

    listed, folders = set(), [""]
    for indent, name in re.findall(r"^((?:  )*)([\w]+/|[\w]+\.py) ", text, re.MULTILINE):
        depth = len(indent) // 2
        folders = [*folders[: depth + 1], folders[depth] + name]
        if name.endswith(".py"):
            listed.add(folders[-1])
    there = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "coppice/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert listed == {path for path in there if not path.endswith("__init__.py") and (ROOT / path).exists()}


def test_no_module_is_without_its_sentence() -> None:
    for line in generate.tree().splitlines():
        assert line == "```" or re.match(r" *\S+ +\S+ \S+", line), line
