"""A pickle module for `torch.save` whose bytes depend on what is pickled alone: sets are written in sorted order.

Every module has a set of the names of its non-persistent buffers, and the order of texts in a set is another in every
process.
"""

from __future__ import annotations

import pickle
from typing import Any


class Pickler(pickle._Pickler):  # the one in C takes no other way to write a set
    """As `pickle.Pickler`, but for the order of sets."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _save_set(self, value: set[Any] | frozenset[Any]) -> None:
        # typeshed leaves the method out
        self.save_reduce(type(value), (sorted(value, key=repr),), obj=value)  # type: ignore[attr-defined]

    # typeshed has these functions take an unpickler
    dispatch[set] = dispatch[frozenset] = _save_set  # type: ignore[assignment]
