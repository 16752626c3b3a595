"""What samples may be given as to a client, and how they become one file of arrays: no framework is needed for that.

A path or bytes go as they are. An array, `(x, y)` or a mapping is written by numpy; of a loader, and of whatever else
gives batches of these, as many samples as a service reads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coppice.client.files import file_of
from coppice.errors import DatasetInvalid, NotInstalled
from coppice.records.frameworks import Framework
from coppice.records.request import Part

#: What a service reads of a file of samples: more would be sent for nothing. A test holds it equal.
MOST = 1024


def samples_file(samples: Any, folder: Path) -> Path:
    """The file of samples; one is made in the folder where there is none. Raises DatasetInvalid, NotInstalled."""
    path = file_of(samples, Part.DATASET, Framework.PYTORCH, folder)
    if path is not None:
        return path
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise NotInstalled("Samples that are no file are saved by numpy, which is not loaded. Give a file.")
    path = folder / "samples.npz"
    numpy.savez(path, **(_gathered(samples, numpy) if _gives_batches(samples) else _entries(samples, numpy)))
    return path


def _gives_batches(samples: Any) -> bool:
    """Whether it is a loader, a generator, or a list of batches, of which each is more than one array."""
    if isinstance(samples, list):
        return bool(samples) and isinstance(samples[0], tuple | list | Mapping) and not _is_number(samples[0])
    return isinstance(samples, Iterable) and not isinstance(samples, tuple | Mapping) and not hasattr(samples, "shape")


def _is_number(entry: Any) -> bool:
    """Whether it is an array that was written as lists of numbers."""
    while isinstance(entry, list) and entry:
        entry = entry[0]
    return isinstance(entry, int | float)


def _entries(batch: Any, numpy: Any) -> dict[str, Any]:
    """The arrays of a batch under their keys, or under the names that numpy gives to places."""
    if isinstance(batch, Mapping):
        return {str(key): _array(entry, numpy) for key, entry in batch.items()}
    entries = batch if isinstance(batch, tuple | list) else (batch,)
    return {f"arr_{place}": _array(entry, numpy) for place, entry in enumerate(entries)}


def _gathered(batches: Iterable[Any], numpy: Any) -> dict[str, Any]:
    kept: dict[str, list[Any]] = {}
    rows = 0
    for batch in batches:
        found = _entries(batch, numpy)
        if kept and kept.keys() != found.keys():
            raise DatasetInvalid(
                f"samples: a batch has the entries {', '.join(found)}, the first {', '.join(kept)}.", field="samples"
            )
        for name, array in found.items():
            kept.setdefault(name, []).append(array)
        rows += max((len(array) for array in found.values() if array.ndim), default=1)
        if rows >= MOST:
            break
    if not kept:
        raise DatasetInvalid("samples: there are no batches in it.", field="samples")
    try:
        return {name: numpy.concatenate([numpy.atleast_1d(one) for one in arrays]) for name, arrays in kept.items()}
    except ValueError as e:
        raise DatasetInvalid(f"samples: the batches do not fit together: {e}.", field="samples") from e


def _array(entry: Any, numpy: Any) -> Any:
    """As numpy holds it; a tensor of torch is brought to where numpy can read it."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(entry, torch.Tensor):
        plain = entry.detach().cpu()
        entry = plain.float() if plain.dtype is torch.bfloat16 else plain
    return numpy.asarray(entry)
