"""A pruned SavedModel serves every use of a SavedModel, not only Keras' loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.dialects.files import SAVED_MODELS, Dialect, Saved, prune, result
from tests.dialects.frameworks import Framework
from tests.dialects.test_round_trip import SMALL

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

EACH_MODEL = pytest.mark.parametrize("model", [*SMALL, "mobilenet_v2"])
EACH_DIALECT = pytest.mark.parametrize("dialect", SAVED_MODELS, ids=str)


def predictions(path: Path) -> np.ndarray:
    with np.load(path) as arrays:
        return np.asarray(arrays[arrays.files[0]])


@EACH_DIALECT
@EACH_MODEL
def test_its_signature_computes_what_keras_computes(saved: Saved, out: Path) -> None:
    folder = result(saved, prune(saved, out), out)
    inputs, by_keras, by_signature = (out / f"{name}.npz" for name in ("inputs", "keras", "signature"))
    saved.framework.ask("predict", file=folder, inputs=inputs, outputs=by_keras)
    saved.framework.ask("serve_signature", folder=folder, inputs=inputs, outputs=by_signature)
    np.testing.assert_allclose(predictions(by_signature), predictions(by_keras), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dialect", [Dialect("tf212", "")], ids=str)
@EACH_MODEL
def test_it_converts_to_a_smaller_tflite_model(saved: Saved, out: Path) -> None:
    folder = result(saved, prune(saved, out), out)
    before = saved.framework.ask("tflite", folder=saved.path)["bytes"]
    assert saved.framework.ask("tflite", folder=folder)["bytes"] < 0.9 * before


@pytest.mark.parametrize("dialect", [Dialect("tf23", "")], ids=str)
@EACH_MODEL
def test_a_later_tensorflow_reads_it_as_it_reads_the_original(
    saved: Saved, out: Path, frameworks: Callable[[str], Framework]
) -> None:
    folder = result(saved, prune(saved, out), out)
    inputs, early, late = (out / f"{name}.npz" for name in ("inputs", "early", "late"))
    saved.framework.ask("predict", file=folder, inputs=inputs, outputs=early)
    frameworks("tf212").ask("predict", file=folder, inputs=inputs, outputs=late)
    np.testing.assert_allclose(predictions(late), predictions(early), rtol=1e-4, atol=1e-6)


@EACH_DIALECT
@pytest.mark.parametrize("model", ["documents"])
def test_it_can_be_saved_again(saved: Saved, out: Path) -> None:
    folder = result(saved, prune(saved, out), out)
    assert saved.framework.ask("resave", folder=folder, file=out / "again")["parameters"] == 32_457


@EACH_DIALECT
@pytest.mark.parametrize("model", ["layer_norm"])
def test_a_graph_that_is_not_understood_comes_back_as_an_h5_of_the_same_version(saved: Saved, out: Path) -> None:
    report = prune(saved, out)
    written = out / report.artifacts[0].file
    assert written.suffix == ".h5"
    assert any("the operator" in note for note in report.notes)
    # Layer normalisation mixes channels, so no masked original equals it: what was cut must still load and train.
    answer = saved.framework.ask("load", file=written)
    assert answer["parameters"] == report.after.parameters < report.before.parameters
    assert answer["compiled"]["loss"] == saved.framework.ask("load", file=saved.path)["compiled"]["loss"]
    assert answer["trained"]["moved"]
