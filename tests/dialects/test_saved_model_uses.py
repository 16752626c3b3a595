"""A pruned SavedModel serves every use of a SavedModel, not only Keras' loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coppice.records.report import Report
from tests.dialects.files import SAVED_MODELS, Dialect, Pruned, Saved, prune
from tests.dialects.frameworks import Framework
from tests.dialects.test_round_trip import SMALL

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

EACH_MODEL = pytest.mark.parametrize("model", [*SMALL, "mobilenet_v2"])
EACH_DIALECT = pytest.mark.parametrize("dialect", SAVED_MODELS, ids=str)


def assert_equal(found: Path, wanted: Path, rtol: float) -> None:
    """The same outputs by name."""
    with np.load(found) as one, np.load(wanted) as other:
        assert sorted(one.files) == sorted(other.files)
        for name in one.files:
            np.testing.assert_allclose(one[name], other[name], rtol=rtol, atol=1e-6)


@EACH_DIALECT
@EACH_MODEL
def test_its_signature_computes_what_keras_computes(saved: Saved, pruned: Pruned, out: Path) -> None:
    folder = pruned.path
    inputs, by_keras, by_signature = (out / f"{name}.npz" for name in ("inputs", "keras", "signature"))
    saved.framework.ask("predict", file=folder, inputs=inputs, outputs=by_keras)
    saved.framework.ask("serve_signature", folder=folder, inputs=inputs, outputs=by_signature)
    assert_equal(by_signature, by_keras, rtol=1e-5)


@pytest.mark.parametrize("dialect", [Dialect("tf212", "")], ids=str)
# TFLite itself has no MaxPool3D, which `assorted` holds.
@pytest.mark.parametrize("model", [model for model in (*SMALL, "mobilenet_v2") if model != "assorted"])
def test_it_converts_to_a_smaller_tflite_model(saved: Saved, pruned: Pruned, out: Path) -> None:
    folder = pruned.path
    before = saved.framework.ask("tflite", folder=saved.path)["bytes"]
    assert saved.framework.ask("tflite", folder=folder)["bytes"] < 0.9 * before


@pytest.mark.parametrize("dialect", [Dialect("tf23", "")], ids=str)
@EACH_MODEL
def test_a_later_tensorflow_reads_it_as_it_reads_the_original(
    saved: Saved, pruned: Pruned, out: Path, frameworks: Callable[[str], Framework]
) -> None:
    folder = pruned.path
    inputs, early = out / "inputs.npz", out / "early.npz"
    saved.framework.ask("predict", file=folder, inputs=inputs, outputs=early)
    for later in ("tf212", "tf215"):
        late = out / f"{later}.npz"
        frameworks(later).ask("predict", file=folder, inputs=inputs, outputs=late)
        assert_equal(late, early, rtol=1e-4)
        assert frameworks(later).ask("load", file=folder)["trained"]["moved"]


@EACH_DIALECT
@pytest.mark.parametrize("model", ["documents"])
def test_it_can_be_saved_again(saved: Saved, pruned: Pruned, out: Path) -> None:
    folder = pruned.path
    assert saved.framework.ask("resave", folder=folder, file=out / "again")["parameters"] == 32_457


@EACH_DIALECT
@pytest.mark.parametrize("model", ["layer_norm"])
def test_a_graph_that_mixes_channels_is_edited_too(saved: Saved, pruned: Pruned) -> None:
    assert_cut_and_trainable(saved, pruned.report, pruned.path)


@EACH_DIALECT
@pytest.mark.parametrize("model", ["wrapped"])
def test_a_graph_that_is_not_understood_comes_back_as_an_h5_of_the_same_version(saved: Saved, out: Path) -> None:
    report = prune(saved, out)
    written = out / report.artifacts[0].file
    assert written.suffix == ".h5"
    assert any("stands inside another" in note and ".h5 of the same Keras" in note for note in report.notes)
    assert_cut_and_trainable(saved, report, written)


def assert_cut_and_trainable(saved: Saved, report: Report, written: Path) -> None:
    """It loads where the original was written, smaller, compiled as that was, and trains."""
    answer = saved.framework.ask("load", file=written)
    assert answer["parameters"] == report.after.parameters < report.before.parameters
    assert answer["compiled"]["loss"] == saved.framework.ask("load", file=saved.path)["compiled"]["loss"]
    assert answer["trained"]["moved"]
