"""Which Keras wrote a model, and so which meaning its configuration has.

Differences that show in the configuration itself (names of keys, shapes of `inbound_nodes`) are not here: their
readers look at the keys. Here is what a reader can't see and must be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Generation(StrEnum):
    """Keras as a language: files of one generation mean the same, whatever the exact version."""

    KERAS_1 = "1"
    KERAS_2 = "2"
    KERAS_3 = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The versions as the file states them. TensorFlow 2.3 writes `2.4.0`, tf_keras `2.21.0`, Keras 3 `3.15.1`."""

    keras_version: str
    backend: str = "tensorflow"

    @property
    def generation(self) -> Generation:
        """The language that the version belongs to; what comes after Keras 3 is read as Keras 3."""
        major = self.keras_version.split(".", 1)[0]
        return Generation(major) if major in ("1", "2") else Generation.KERAS_3

    @property
    def release(self) -> tuple[int, ...]:
        """The version's first two numbers, to compare: `2.4.0` is (2, 4), and so is `2.4.0-tf`."""
        return tuple(int(part) for part in self.keras_version.split(".")[:2] if part.isdigit())
