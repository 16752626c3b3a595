"""The page of a quantized file: what is integer arithmetic and what is storage alone, in words, and its figures."""

from __future__ import annotations

from typing import Any

import pytest

from coppice.pages import render
from coppice.records.quantization import Activations, Precision, Rounding
from coppice.records.report import Arithmetic, LayerPrecision, Report
from tests.pages.accounts import only_quantized, pruned_and_quantized, quantized_file
from tests.pages.test_pages import Element, read, row


def headline(page: Element) -> dict[str, str]:
    """Label -> its figure and what stands below."""
    boxes = [box for box in page.all("dl")[0].children if box.name == "div"]
    return {box.all("dt")[0].words(): box.all("dd")[0].words() for box in boxes}


def test_the_headline_says_how_small_what_computes_how_good_and_how_fast() -> None:
    assert headline(read(render(only_quantized()))) == {
        "file, of that in floats": "25.0% 9,500 bytes; in floats 38,000",
        "computed in": "integers and floats by ONNX Runtime 1.31.1",
        "accuracy of the file": "96.0% 98.4% as it was sent",
        "time of one sample": "40.0% of that in floats, in ONNX Runtime 1.31.1",
    }


def layers(*bits: int) -> tuple[LayerPrecision, ...]:
    return tuple(
        LayerPrecision(
            name=f"fc{place}",
            tensor=f"fc{place}.weight",
            parameters=9,
            precision=Precision(f"int{one}"),
            rounding=Rounding.GPTQ,
        )
        for place, one in enumerate(bits)
    )


IN_FLOATS = "computed in floats by ONNX Runtime 1.31.1: the file gets small, memory and speed don't change."
STORED = {"activations": Activations.FLOAT32, "arithmetic": Arithmetic.FLOAT}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arithmetic": Arithmetic.INTEGER}, "Computed in integers by ONNX Runtime 1.31.1."),
        (
            {"arithmetic": Arithmetic.MIXED},
            "Computed by ONNX Runtime 1.31.1 in integers in part, and in floats for the rest.",
        ),
        (
            {**STORED, "weights": Precision.INT2, "layers": layers(2, 2)},
            f"Stored in 2 bits, {IN_FLOATS}",
        ),
        (
            {**STORED, "weights": Precision.INT1, "layers": layers(8, 1, 8)},
            f"Stored in 1 to 8 bits, {IN_FLOATS}",
        ),
        (
            {**STORED, "weights": Precision.INT1, "layers": layers(1)},
            f"Stored in 1 bit, {IN_FLOATS}",
        ),
        (
            {"arithmetic": Arithmetic.FLOAT, "weights": Precision.FLOAT16},
            "Stored in float16, computed in floats by ONNX Runtime 1.31.1.",
        ),
    ],
)
def test_integer_arithmetic_is_told_apart_from_storage(changes: dict[str, Any], sentence: str) -> None:
    page = read(render(only_quantized(**changes)))
    (told,) = [entry for entry in page.all("p") if entry.attributes.get("class") == "executed"]
    assert told.words() == sentence


def test_bytes_are_shares_of_what_the_file_holds() -> None:
    page = read(render(only_quantized()))
    assert row(page, "int8")[1:3] == ["7,000", "87.5%"]
    assert row(page, "float32")[1:3] == ["1,000", "12.5%"]
    assert row(page, "quantized file, bytes")[1:4] == ["38,000", "9,500", "25.0%"]
    assert row(page, "latency of one sample there, ms")[1:4] == ["0.5 (range 0.02)", "0.2 (range 0.01)", "40.0%"]


def test_a_layer_has_its_bits_its_bytes_and_why_it_is_otherwise() -> None:
    page = read(render(only_quantized("conv1", floating={"fc": "too small"})))
    assert row(page, "conv1")[1:] == ["640", "int8", "640", "gptq", ""]
    rows = [[cell.words() for cell in entry.children] for entry in page.all("tr")]
    # 33 weights of 4 bits are 132 bits: 16 bytes and a half.
    assert ["fc", "33", "int4", "17", "nearest", "as layers says of conv1"] in rows
    assert ["fc", "too small"] in rows
    assert ["QLinearConv", "2"] in rows
    assert ["1 in int8, 1 in int4", "657", "0.012", "yes"] in rows


def test_the_file_stands_beside_what_it_was_made_of() -> None:
    page = read(render(pruned_and_quantized()))
    shares = {
        name: row(page, name) for name in ("as it was sent", "pruned, in floats", "the file, in ONNX Runtime 1.31.1")
    }
    assert {name: [cells[place] for place in (1, 3, 5)] for name, cells in shares.items()} == {
        "as it was sent": ["98.4%", "100.0%", "0"],
        "pruned, in floats": ["97.0%", "97.5%", "0.034"],
        "the file, in ONNX Runtime 1.31.1": ["96.0%", "96.5%", "0.036"],
    }
    assert "Signal to noise: 38.0 dB" in page.words()
    # 9,500 of the 90,000 bytes that were sent.
    assert headline(page)["accuracy of the file"] == "96.0% 97.0% in floats, 98.4% as it was sent"
    assert headline(page)["file, of the one that was sent"] == "10.6% of 90,000 bytes"


def test_a_model_that_was_not_cut_has_no_word_of_cutting() -> None:
    sections = {section.attributes["aria-labelledby"] for section in read(render(only_quantized())).all("section")}
    assert sections == {"quantized", "kept", "raised", "runs", "notes", "again"}
    both = {section.attributes["aria-labelledby"] for section in read(render(pruned_and_quantized())).all("section")}
    assert both > {"quantized", "groups", "check", "costs", "quality"}
    page = render(only_quantized())
    assert read(page).all("h1")[0].words() == "net.pth, quantized to int8"
    assert read(render(pruned_and_quantized())).all("h1")[0].words() == "net.pth, pruned and quantized to int8"
    assert [word for word in ("pruned", "Channels", "verified") if word in read(page).words()] == []


def test_a_file_that_nothing_judged_says_why() -> None:
    found = only_quantized()
    alone = quantized_file().model_copy(update={"fidelity": None, "float_fidelity": None, "snr_db": None})
    page = read(render(found.model_copy(update={"quality": None, "quantized": alone})))
    assert "How good the file is was not measured: no samples were sent." in page.words()
    assert "Signal to noise" not in page.words()


def test_equal_outputs_are_called_so() -> None:
    found: Report = only_quantized("conv1", snr_db=None)
    assert "The file's outputs are those of the model in floats." in read(render(found)).words()
