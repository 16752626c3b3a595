"""`coppice quantize`, and `coppice prune --quantize`, on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.records.report import Report
from tests.cli.conftest import Coppice

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")


def types_of(path: Path) -> set[int]:
    return {tensor.data_type for tensor in onnx.load(path).graph.initializer}


@pytest.mark.slow
def test_a_folder_gets_the_file_that_the_report_tells_of(files: Path, coppice: Coppice) -> None:
    np.savez(files / "s.npz", x=np.random.default_rng(0).normal(size=(80, 1, 8, 8)).astype("float32"))
    found = coppice("quantize", *SMALL, "--precision", "int8", "--dataset", "s.npz", "-o", "out", "--json")

    assert found.returncode == 0, found.stderr
    report = Report.model_validate_json(found.stdout)
    assert {path.name for path in (files / "out").iterdir()} == {artifact.file for artifact in report.artifacts}
    file = next(files / "out" / artifact.file for artifact in report.artifacts if artifact.name == "quantized")
    assert report.quantized is not None
    assert report.quantized.file_bytes == file.stat().st_size
    assert TensorProto.INT8 in types_of(file)


@pytest.mark.slow
def test_a_file_named_by_o_is_the_quantized_one_and_the_table_says_what_stayed(files: Path, coppice: Coppice) -> None:
    found = coppice("quantize", *SMALL, "--precision", "int4", "--layers", "conv=float32", "-o", "small.onnx")

    assert found.returncode == 0, found.stderr
    assert {path.name for path in files.iterdir()} == {"model.py", "weights.pth", "small.onnx"}
    assert "Quantized: int4 " in found.stdout
    assert "computed in floats by ONNX Runtime" in found.stdout
    # What was asked for one layer stays in floats, and the file is smaller than the other's weights in floats.
    assert TensorProto.FLOAT in types_of(files / "small.onnx")
    assert (files / "small.onnx").stat().st_size < 4 * (90 + 1440)


@pytest.mark.slow
def test_of_a_cut_that_is_quantized_the_file_is_the_smaller_one(files: Path, coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "--quantize", "int4", "-o", "small.onnx")

    assert found.returncode == 0, found.stderr
    assert "Quantized: int4 " in found.stdout
    assert "exact" in found.stdout
    assert TensorProto.UINT8 in types_of(files / "small.onnx") or TensorProto.INT8 in types_of(files / "small.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        (("quantize", *SMALL, "-o", "out"), "parameter_missing", "precision"),
        (("quantize", *SMALL, "-o", "out", "--precision", "int3"), "parameter_invalid", "precision"),
        (("quantize", *SMALL, "-o", "out", "--precision", "int8"), "samples_missing", "dataset"),
        (
            ("quantize", *SMALL, "-o", "out", "--precision", "int4", "--format", "tflite"),
            "precision_impossible",
            "format",
        ),
        (("quantize", *SMALL, "-o", "out.pt", "--precision", "int4"), "parameter_invalid", "out"),
        (
            ("quantize", *SMALL, "-o", "o.safetensors", "--precision", "int4", "--format", "safetensors"),
            *("parameter_invalid", "out"),
        ),
        (("quantize", *SMALL, "-o", "out", "--weights", "int4", "--layers", "int8"), "parameter_invalid", "layers"),
        (("prune", *SMALL, "-o", "out", "--percent", "0.4", "--quantize", "int2"), "samples_missing", "dataset"),
        (("sweep", *SMALL, "-o", "out", "--precisions", "int4,int4"), "parameter_invalid", "precisions"),
        (("sweep", *SMALL, "-o", "out"), "parameter_missing", "percents"),
    ],
)
def test_a_wrong_call_ends_with_its_code_before_anything_is_done(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: str, field: str
) -> None:
    monkeypatch.chdir(files)
    found = CliRunner().invoke(app, [*arguments, "--json"])

    assert found.exit_code == 2
    assert (json.loads(found.stdout)["code"], json.loads(found.stdout)["field"]) == (code, field)
    assert {path.name for path in files.iterdir()} == {"model.py", "weights.pth"}
