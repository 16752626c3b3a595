"""The call `onnx_prune`: what it takes, and that the service, the command and the library give the same model."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

import coppice
from coppice import pipeline
from coppice.cli.app import app
from coppice.http.intake import INTAKES
from coppice.http.parts import find_part
from coppice.http.reading import read_parameters, to_request
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.request import Part
from coppice.settings import Settings
from tests.onnx.builders import between, initializers, run, weights, with_zeros
from tests.serving import DONE, serving

CALL = INTAKES["onnx_prune"]
X = weights(2, 3, 8, 8, seed=1)


def model() -> onnx.ModelProto:
    return between(helper.make_node("Relu", ["a"], ["z"], name="act"), opset=17)


def test_the_call_takes_a_file_and_does_without_input_size() -> None:
    part = find_part(CALL, "file", "net.onnx")
    request = to_request(CALL, read_parameters(CALL, [("percent", "0.5")]), {part: "net.onnx"})

    assert (request.framework, request.files, request.input_size) == (
        Framework.ONNX,
        {Part.MODEL: "net.onnx"},
        None,
    )
    sized = to_request(CALL, read_parameters(CALL, [("percent", "0.5"), ("input_size", "3,8,8")]), {part: "net.onnx"})
    assert sized.input_size == (Input(shape=(3, 8, 8)),)


def test_inspect_takes_an_onnx_file_by_its_suffix() -> None:
    intake = INTAKES["inspect"]
    part = find_part(intake, "model", "net.onnx")

    assert to_request(intake, {}, {part: "net.onnx"}).framework is Framework.ONNX


def test_what_a_zip_holds_decides_whose_model_is_inspected(tmp_path: Path) -> None:
    onnx.save_model(model(), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("net.onnx", "net.data"):
            archive.write(tmp_path / name, name)
    intake = INTAKES["inspect"]
    request = to_request(intake, {}, {find_part(intake, "model", path.name): path.name})
    found = pipeline.inspect(request, {Part.MODEL: path}, tmp_path, lambda _: None)

    assert found.request.framework is Framework.ONNX
    assert [(group.name, group.channels) for group in found.groups] == [("first", 8)]


@pytest.mark.slow
def test_service_command_and_library_give_the_same_pruned_model(tmp_path: Path) -> None:
    original = model()
    given = tmp_path / "net.onnx"
    onnx.save_model(original, given)
    by_library = coppice.prune(original, percent=0.5)
    by_path = coppice.prune(given, percent=0.5).model
    out = tmp_path / "out.onnx"
    typed = CliRunner().invoke(app, ["prune", str(given), "--percent", "0.5", "--out", str(out)])
    assert typed.exit_code == 0, typed.output
    with serving(Settings(data_dir=tmp_path / "data", port=0, tls=False)) as service:
        answer = service.post("onnx_prune", {"percent": "0.5"}, {"model": ("net.onnx", given.read_bytes())})
        ended = service.end(answer.json()["txid"])
        assert ended["status"] == DONE, ended
        assert ended["filename"].endswith(".onnx")
        downloaded = service.client.get("/api/download", params={"txid": answer.json()["txid"]}).content

    assert by_library.model == by_path == onnx.load(out) == onnx.load_model_from_string(downloaded)
    assert initializers(by_path)["w1"].shape == (4, 3, 3, 3)
    assert (by_library.report.verification.max_relative_difference or 0) < 1e-10
    assert any("those of ONNX Runtime" in note for note in by_library.report.notes)
    expected = run(with_zeros(original, by_path, "w1", "b1"), x=X)[0]
    np.testing.assert_allclose(run(by_path, x=X)[0], expected, rtol=0, atol=1e-4 * abs(expected).max())
