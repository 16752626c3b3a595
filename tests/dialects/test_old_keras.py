"""Files of Keras before TensorFlow 2, pruned: TensorFlow 2.3 loads them, finds the masked original, and trains them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dialects.files import Saved, prune, result
from tests.dialects.frameworks import Framework
from tests.dialects.test_round_trip import TOLERANCE

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

OLD = Path(__file__).resolve().parent.parent / "keras" / "old"


@pytest.mark.parametrize("path", sorted(OLD.glob("*.h5")), ids=lambda path: path.stem)
def test_an_old_file_is_at_home_in_tensorflow_2_3(
    path: Path, frameworks: Callable[[str], Framework], tmp_path: Path
) -> None:
    saved = Saved(framework=frameworks("tf23"), path=path, upload=path)
    report = prune(saved, tmp_path)
    answer = saved.framework.ask("compare", original=path, pruned=result(saved, report, tmp_path))
    before, after = answer["parameters"]
    assert answer["difference"] < TOLERANCE
    assert after == report.after.parameters < 0.75 * before
    assert answer["compiled"][0] == answer["compiled"][1]
    assert answer["trained"]["moved"]
