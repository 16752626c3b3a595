"""A pruned SavedModel serves every use of a SavedModel, not only Keras' loader."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coppice.records.report import Report
from tests.dialects.files import SAVED_MODELS, Dialect, Pruned, Saved, prune, result
from tests.dialects.frameworks import Framework
from tests.dialects.test_round_trip import SMALL, TOLERANCE
from tests.saved_model.conftest import FIXTURES
from tests.saved_model.folders import files_of, sharded, zipped

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

MODELS = (*SMALL, "mobilenet_v2", "loops")
EACH_MODEL = pytest.mark.parametrize("model", MODELS)
EACH_DIALECT = pytest.mark.parametrize("dialect", SAVED_MODELS, ids=str)


@EACH_DIALECT
@EACH_MODEL
def test_its_signature_and_tflite_compute_what_keras_computes(
    saved: Saved, pruned: Pruned, dialect: Dialect, model: str
) -> None:
    # TFLite itself has no MaxPool3D, which `assorted` holds.
    converts = dialect.environment == "tf212" and model != "assorted"
    answer = saved.framework.ask("uses", folder=pruned.path, tflite=converts)
    assert set(answer) == {"signature", "tflite"} if converts else {"signature"}
    assert all(difference < TOLERANCE for difference in answer.values())


@pytest.mark.parametrize("dialect", [Dialect("tf212", "")], ids=str)
@pytest.mark.parametrize("model", ["documents"])
def test_signatures_and_files_of_the_users_own_come_home(saved: Saved, out: Path) -> None:
    saved.framework.ask("sign", file=saved.path, folder=out / "signed")
    upload = Path(shutil.make_archive(str(out / "signed"), "zip", out, "signed"))
    signed = Saved(framework=saved.framework, path=out / "signed", upload=upload)
    answer = saved.framework.ask("signed", folder=result(signed, prune(signed, out), out))
    assert answer["takes"] == {"serving_default": [None, 28, 28, 1], "photo": [None, None, None, 1]}
    assert all(difference < TOLERANCE for difference in answer["differences"].values())
    assert answer["labels"] == "cat dog"


@pytest.mark.parametrize("dialect", [Dialect("tf23", "")], ids=str)
@pytest.mark.parametrize("model", ["documents", "concatenated", "separable", "transposed", "nested", "loops"])
def test_a_later_tensorflow_reads_it_as_it_reads_the_original(
    saved: Saved, pruned: Pruned, out: Path, frameworks: Callable[[str], Framework]
) -> None:
    inputs, early = out / "inputs.npz", out / "early.npz"
    saved.framework.ask("predict", file=pruned.path, inputs=inputs, outputs=early)
    for later in ("tf212", "tf215"):
        late = out / f"{later}.npz"
        assert frameworks(later).ask("load", file=pruned.path, inputs=inputs, outputs=late)["trained"]["moved"]
        with np.load(late) as one, np.load(early) as other:
            assert sorted(one.files) == sorted(other.files)
            for name in one.files:
                np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


def test_variables_in_several_shards_load_where_the_model_was_written(
    frameworks: Callable[[str], Framework], tmp_path: Path
) -> None:
    files = sharded(files_of(FIXTURES / "tf212.zip"), 3)
    upload = zipped(files, tmp_path / "sharded.zip")
    with zipfile.ZipFile(upload) as archive:
        archive.extractall(tmp_path)
    saved = Saved(framework=frameworks("tf212"), path=tmp_path / "tiny", upload=upload)
    report = prune(saved, tmp_path)
    answer = saved.framework.ask("compare", original=saved.path, pruned=result(saved, report, tmp_path))
    assert answer["difference"] < TOLERANCE
    assert answer["parameters"] == [report.before.parameters, report.after.parameters]
    assert answer["trained"]["moved"]


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
@pytest.mark.parametrize("model", ["stacked"])
def test_a_graph_that_is_not_understood_comes_back_as_an_h5_of_the_same_version(saved: Saved, out: Path) -> None:
    report = prune(saved, out)
    written = out / report.artifacts[0].file
    assert written.suffix == ".h5"
    assert any("StackedRNNCells" in note and ".h5 of the same Keras" in note for note in report.notes)
    assert_cut_and_trainable(saved, report, written)


def assert_cut_and_trainable(saved: Saved, report: Report, written: Path) -> None:
    """It loads where the original was written, smaller, compiled as that was, and trains."""
    answer = saved.framework.ask("load", file=written)
    assert answer["parameters"] == report.after.parameters < report.before.parameters
    assert answer["compiled"]["loss"] == saved.framework.ask("load", file=saved.path)["compiled"]["loss"]
    assert answer["trained"]["moved"]
