"""Pages of accounts: what they say, that they say it to everybody, and that they run nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import coppice
from coppice.pages import render
from coppice.records.figures import significant
from coppice.records.report import Account
from coppice.records.sweep import Axis
from tests.pages.accounts import (
    EVIL,
    inspection,
    only_quantized,
    pruned_and_quantized,
    report,
    sweep,
    swept_by_precisions,
)

#: Elements without an end.
VOID = {"meta", "link", "img", "br", "input", "hr", "rect"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str = "") -> list[Element]:
        found = [child for child in self.children if name in ("", child.name)]
        return found + [deeper for child in self.children for deeper in child.all(name)]

    def words(self) -> str:
        return " ".join(" ".join([self.text, *(child.words() for child in self.children)]).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("page", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop().name == tag  # well formed

    def handle_data(self, data: str) -> None:
        self._open[-1].text += data


def read(page: str) -> Element:
    reader = _Reader()
    reader.feed(page)
    assert reader._open == [reader.root]
    return reader.root


ACCOUNTS: dict[str, Callable[[str], Account]] = {
    "report": report,
    "pruned and quantized": pruned_and_quantized,
    "quantized": only_quantized,
    "inspection": inspection,
    "sweep": sweep,
    "sweep of precisions": swept_by_precisions,
}
every = pytest.mark.parametrize("account", ACCOUNTS.values(), ids=ACCOUNTS.keys())


def row(page: Element, name: str) -> list[str]:
    (found,) = [
        entry for entry in page.all("tr") if entry.children[0].name == "th" and entry.children[0].words() == name
    ]
    return [cell.words() for cell in found.children]


@every
def test_a_hostile_name_is_text_and_nothing_else(account: Callable[[str], Account]) -> None:
    page = read(render(account(EVIL)))
    assert {element.name for element in page.all()} & {"script", "img", "link", "iframe"} == set()
    assert sum(EVIL in cell.words() for cell in page.all("th") + page.all("td")) >= 2


@every
def test_nothing_comes_from_elsewhere_and_nothing_may(account: Callable[[str], Account]) -> None:
    page = read(render(account("conv1")))
    assert [element for element in page.all() if {"src", "href", "srcset", "style"} & element.attributes.keys()] == []
    assert re.findall(r"url\(|@import", page.all("style")[0].text) == []
    policies = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


@every
def test_tables_and_pictures_can_be_heard(account: Callable[[str], Account]) -> None:
    page = read(render(account("conv1")))
    assert page.all("html")[0].attributes["lang"] == "en"
    for table in page.all("table"):
        assert table.all("caption")[0].words()
        assert all(head.attributes["scope"] in ("col", "row") for head in table.all("th"))
        assert all(head.words() for head in table.all("th"))
    for picture in page.all("svg"):
        assert picture.attributes["role"] == "img"
        assert picture.all("title")[0].words()
        assert picture.all("desc")[0].words()
    for section in page.all("section"):
        assert section.attributes["aria-labelledby"] == section.all("h2")[0].attributes["id"]


def test_costs_stand_before_and_after_with_what_is_left() -> None:
    page = read(render(report()))
    assert row(page, "parameters")[1:4] == ["20,522", "8,208", "40.0%"]
    assert row(page, "file, bytes")[1:4] == ["90,000", "36,000", "40.0%"]
    assert row(page, "peak activation memory, bytes")[1:4] == ["70,000", "28,000", "40.0%"]
    assert row(page, "latency of one sample, ms")[1:4] == ["0.8 (range 0.05)", "0.79 (range 0.05)", "98.8%"]


def test_bars_are_as_long_as_what_is_kept() -> None:
    page = read(render(report()))
    bars = {svg.all("title")[0].words(): svg.all("rect")[1].attributes["width"] for svg in page.all("svg")}
    assert float(bars["kept 48 of 64"]) == 75
    assert float(bars["kept 5 of 10"]) == 50
    assert float(bars["original: accuracy 98.4%"]) == pytest.approx(98.4)


def test_layers_stand_with_bars_as_long_as_they_are_beside_the_largest() -> None:
    page = read(render(report()))
    found = row(page, "conv1.inner")
    assert (found[1:3], found[4:6]) == (["1,000", "250"], ["64,000", "16,000"])
    bars = {
        svg.all("title")[0].words(): [rect.attributes["width"] for rect in svg.all("rect")] for svg in page.all("svg")
    }
    assert [float(width) for width in bars["conv1.inner: 250 of 1,000 parameters"]] == [100, 25]
    assert [float(width) for width in bars["fc.inner: 400 of 500 parameters"]] == [50, 40]
    assert [float(width) for width in bars["fc.inner: 0 of 0 multiply-accumulates"]] == [0, 0]


def test_quality_stands_at_three_stages() -> None:
    page = read(render(report()))
    stages = {name: row(page, name) for name in ("original", "given back")}
    assert [stages["original"][place] for place in (1, 3, 5)] == ["98.4%", "100.0%", "0"]
    assert [stages["given back"][place] for place in (1, 3, 5)] == ["97.0%", "97.5%", "0.034"]
    assert "not numbers" in page.words()  # the distance of the cut


def test_everything_that_a_report_tells_is_on_its_page() -> None:
    words = read(render(report())).words()
    told = (
        *("tied to an output", "output of the model", "a note on conv1", "The pruned model is not faster here."),
        *("3.1e-15", "A Processor", "ab" * 32, "torch 2.13.0", "seed 7", "nothing that it reads went", "Layer table"),
    )
    assert [text for text in told if text not in words] == []


def test_dots_of_a_curve_lie_in_proportion_and_those_on_the_front_are_full() -> None:
    pictures = read(render(sweep())).all("svg")
    assert len(pictures) == 4
    for picture in pictures:
        dots = [(float(dot.attributes["cx"]), float(dot.attributes["cy"])) for dot in picture.all("circle")]
        (whole, best), (middle, worst), (small, good) = dots
        assert (middle - small) / (whole - small) == pytest.approx((0.75 - 0.5) / (1 - 0.5), abs=0.01)
        assert (good - best) / (worst - best) == pytest.approx((0.9 - 0.8) / (0.9 - 0.6), abs=0.01)
        assert [dot.attributes["class"] for dot in picture.all("circle")] == ["dot on", "dot", "dot on"]


def test_names_beside_dots_do_not_lie_on_each_other() -> None:
    swept = swept_by_precisions()
    alike = [point.model_copy(update={"fidelity": swept.points[0].fidelity, "front": ()}) for point in swept.points[:5]]
    alike[4] = alike[4].model_copy(update={"front": tuple(Axis)})
    file = next(
        picture
        for picture in read(render(swept.model_copy(update={"points": tuple(alike)}))).all("svg")
        if picture.all("title")[0].words() == "accuracy against file"
    )
    beside = [text.words() for text in file.all("text") if text.words() in ("int8", "int2", "0.5", "0.5 int8")]
    # In one row at 25, 8, 50 and 12.5 %: int2 is too near to the one on the front.
    assert beside == ["int8", "0.5", "0.5 int8"]


def test_a_ratio_without_a_model_says_why() -> None:
    page = read(render(sweep("conv1")))
    assert row(page, "0.75 removed")[-1] == "conv1: rounds to none"
    assert row(page, "0.5 removed")[1:] == ["50.0%"] * 4 + ["40.0%", "80.0%", "yes", "model_50"]


def test_a_sweep_by_two_axes_has_a_row_and_a_dot_for_each_pair() -> None:
    page = read(render(swept_by_precisions()))
    assert page.all("h1")[0].words() == "model.h5, pruned by 1 ratio and quantized to int8, int2"
    heads = [head.words() for head in page.all("thead")[0].all("th")]
    half = dict(zip(heads, row(page, "0.5 removed, int8"), strict=True))
    assert (half["parameters"], half["file"], half["latency"], half["given back"]) == (
        *("50.0%", "12.5%", "20.0%", "79.0%"),
    )
    assert row(page, "0.5 removed, int8, file")[1:] == [
        *("11,250", "45,000", "25.0%", "40.0%", "40.5"),
        "integers, by ONNX Runtime 1.31.1",
    ]
    assert row(page, "whole, int2, file")[-1] == "floats, by ONNX Runtime 1.31.1"
    assert row(page, "0.5 removed, int2")[-1] == "conv1: no integer can hold it"
    pictures = {picture.all("title")[0].words(): picture for picture in page.all("svg")}
    assert len(pictures) == 5
    dots = pictures["accuracy against file"].all("circle")
    places = [float(dot.attributes["cx"]) for dot in dots]
    sent, eighth = places[0], places[4]
    # From the left edge of the plane, in proportion to 1 and 0.125.
    quarter = places[1]
    assert len(pictures["accuracy against parameters"].all("circle")) == 2  # which no precision changes
    assert (quarter - eighth) / (sent - eighth) == pytest.approx((0.25 - 0.125) / (1 - 0.125), abs=0.01)


def test_a_live_model_has_a_page_too() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    found = coppice.prune(model, percent=0.5, example_inputs=(torch.randn(2, 6),))
    page = read(render(found.report))
    assert row(page, "parameters")[1:3] == [str(6 * 8 + 8 + 8 * 4 + 4), str(6 * 4 + 4 + 4 * 4 + 4)]
    assert "live in a Python program" in page.words()


@pytest.mark.parametrize(
    ("number", "digits", "read"),
    [(0.0000123, 3, "1.23e-05"), (0.7642, 3, "0.764"), (105.3, 2, "105"), (99.6, 2, "100"), (1234.5, 3, "1,234")],
)
def test_a_large_figure_is_written_out(number: float, digits: int, read: str) -> None:
    assert significant(number, digits) == read
