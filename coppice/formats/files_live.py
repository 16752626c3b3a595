"""Files of the formats of other packages in a user's own process: a path goes in, bytes of the same kind come out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from coppice.errors import ModelNotSaved
from coppice.records.plugins import formats


def is_file_of_plugin(model: object) -> bool:
    """Whether the object names a file of a format that an entry point brings."""
    return isinstance(model, str | Path) and Path(model).suffix.lower() in formats()


def save_live(model: Any, folder: Path) -> Path:
    """A copy of the file, under its name."""
    try:
        return Path(shutil.copy(model, folder))
    except OSError as e:
        raise ModelNotSaved(f"{model} can't be read: {e}", field="model") from e


def load_live(_model: Any, path: Path) -> bytes:
    """The written file: what it is made of in memory is for its package to say."""
    return path.read_bytes()
