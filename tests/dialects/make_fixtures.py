"""Make the SavedModels of tests/saved_model/fixtures, with what TensorFlow computes of them.

.venv/bin/python -m tests.dialects.make_fixtures
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.dialects.frameworks import Framework

FIXTURES = Path(__file__).resolve().parent.parent / "saved_model" / "fixtures"


def main() -> None:
    """One zip and one .npz per version: inputs, then outputs."""
    FIXTURES.mkdir(exist_ok=True)
    for name in ("tf23", "tf212"):
        framework = Framework(name)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "tiny"
            framework.ask("build", model="tiny", file=folder)
            inputs, outputs = FIXTURES / f"{name}-inputs.npz", FIXTURES / f"{name}-outputs.npz"
            inputs.unlink(missing_ok=True)
            framework.ask("predict", file=folder, inputs=inputs, outputs=outputs)
            framework.close()
            shutil.make_archive(str(FIXTURES / name), "zip", scratch, "tiny")


if __name__ == "__main__":
    main()
