"""Models of recurrent layers, attention and wrappers come home: loaded, found in the masked original, and trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.files import Dialect, Saved, prune, result

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

#: How a graph is edited in a SavedModel is another matter, and `.h5` of Keras 3 says what its `.keras` says.
EACH_DIALECT = pytest.mark.parametrize(
    "dialect", [Dialect("tf23", ".h5"), Dialect("tf212", ".h5"), Dialect("keras3", ".keras")], ids=str
)
TOLERANCE = 1e-5


@EACH_DIALECT
@pytest.mark.parametrize("model", ["recurrent", "encoder_decoder", "video", "teachable_machine"])
def test_the_hidden_width_is_cut_and_the_file_is_at_home(saved: Saved, out: Path) -> None:
    report = prune(saved, out)
    answer = saved.framework.ask("compare", original=saved.path, pruned=result(saved, report, out))
    before, after = answer["parameters"]
    assert answer["difference"] < TOLERANCE
    assert after < 0.6 * before
    assert [(entry.layers, entry.reason) for entry in report.frozen if entry.reason != "output of the model"] == []
    assert answer["trained"]["moved"]


@pytest.mark.parametrize("dialect", [Dialect("tf212", ".h5"), Dialect("keras3", ".keras")], ids=str)
@pytest.mark.parametrize("model", ["attention"])
def test_narrower_heads_load_and_train(saved: Saved, out: Path) -> None:
    """Queries are scaled to make up for the narrower keys, so the arrays are not found in the original as they are."""
    report = prune(saved, out)
    answer = saved.framework.ask("load", file=result(saved, report, out))
    assert answer["parameters"] == report.after.parameters < 0.6 * report.before.parameters
    assert answer["trained"]["moved"]
