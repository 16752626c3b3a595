"""What a notebook shows of an account: what its page says, in styles that reach nothing else; and nothing runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from coppice.pages import render, render_cell
from coppice.records.report import Account
from tests.pages.accounts import EVIL, inspection, pruned_and_quantized, report, sweep

ACCOUNTS = pytest.mark.parametrize("make", [report, inspection, sweep, pruned_and_quantized])


class Parts(HTMLParser):
    """The elements of a fragment, its text, and its styles."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.styles, self._styled = "", "", False
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._styled = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        if self._styled:
            self.styles += data
        else:
            self.text += data


@ACCOUNTS
def test_a_cell_is_one_element_and_runs_nothing(make: Callable[[], Account]) -> None:
    cell = make()._repr_html_()
    parts = Parts(cell)
    assert parts.elements[0] == ("div", {"class": "coppice-report"})
    assert cell.rstrip().endswith("</div>")
    tags = {tag for tag, _ in parts.elements}
    assert not tags & {"script", "iframe", "object", "img", "link", "html", "head", "body", "meta"}
    assert not [name for _, attributes in parts.elements for name in attributes if name.startswith("on")]
    assert EVIL not in cell


@ACCOUNTS
def test_the_styles_of_a_cell_are_all_inside_of_one_rule(make: Callable[[], Account]) -> None:
    styles = Parts(render_cell(make())).styles.strip()
    assert styles.startswith(".coppice-report {")
    depths = [0]
    for brace in re.findall(r"[{}]", styles):
        depths.append(depths[-1] + (1 if brace == "{" else -1))
    assert depths[-1] == 0
    assert 0 not in depths[1:-1]
    assert ":root" not in styles
    assert "& {\n  color-scheme: light dark;" in styles


@ACCOUNTS
def test_a_cell_says_what_the_page_says(make: Callable[[], Account]) -> None:
    def figures(html: str) -> set[str]:
        return set(re.findall(r"[\d.,]+%?", Parts(html).text))

    page = render(make()).partition("<main>")[2].partition("<details><summary>As text")[0]
    assert figures(page) <= figures(render_cell(make()))


def test_the_ids_of_two_cells_of_one_notebook_differ() -> None:
    def ids(cell: str) -> list[str]:
        return [value for _, found in Parts(cell).elements if (value := found.get("id"))]

    one, other = ids(render_cell(report())), ids(render_cell(sweep()))
    assert one
    assert other
    assert not set(one) & set(other)
    assert len(set(one)) == len(one)
    labels = {
        found["aria-labelledby"] for _, found in Parts(render_cell(report())).elements if "aria-labelledby" in found
    }
    assert labels <= set(one)
