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
    """A zip per version, with inputs and outputs as .npz, and one of a model that loops."""
    FIXTURES.mkdir(exist_ok=True)
    save("tf212", "memory", "memory")
    for name in ("tf23", "tf212"):
        save(name, "tiny", name)


def save(environment: str, model: str, name: str) -> None:
    """Build a model there and keep it under this name, with what it computes."""
    framework = Framework(environment)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tiny"  # what the zips call it
        framework.ask("build", model=model, file=folder)
        inputs, outputs = FIXTURES / f"{name}-inputs.npz", FIXTURES / f"{name}-outputs.npz"
        inputs.unlink(missing_ok=True)
        framework.ask("predict", file=folder, inputs=inputs, outputs=outputs)
        framework.close()
        shutil.make_archive(str(FIXTURES / name), "zip", scratch, "tiny")


if __name__ == "__main__":
    main()
