"""Samples that a user of the library has in hand: an array, `(x, y)`, a mapping, a loader, or batches of any of these.

A live PyTorch model is given them as they are. Those of other frameworks go through a file, and so do their samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coppice.errors import CoppiceError, DatasetInvalid
from coppice.formats.dataset import ROWS
from coppice.formats.pytorch.batches import is_number, leaves, read_batches
from coppice.formats.pytorch.dataset import batches_of
from coppice.formats.pytorch.user_errors import last_line
from coppice.formats.samples import Inputs, Read, gathered, seeded
from coppice.records.inputs import sizes
from coppice.tracing.samples import Samples

SOURCE = FIELD = "samples"


def given(samples: Any, module: nn.Module, *, inputs: Inputs | None, seed: int) -> Read:
    """Samples for a module, which takes as many inputs as are given, if any are; raises DatasetInvalid."""
    try:
        batches = batches_of(samples, source=SOURCE, seed=seed)
        return read_batches(batches, module, source=SOURCE, seed=seed, told=_told, like=inputs)
    except DatasetInvalid as e:
        e.field = FIELD
        raise


def save_given(samples: Any, folder: Path, *, seed: int) -> Path:
    """Write as many samples as are read of a file, as arrays under their keys, or by their places."""
    path = folder / "samples.npz"
    keys: list[str] = []
    try:
        batches = batches_of(samples, source=SOURCE, seed=seed)
        with seeded(seed):
            found = gathered(_columns(batches, keys), source=SOURCE, seed=seed).samples
    except DatasetInvalid as e:
        e.field = FIELD
        raise
    rows = found.rows if batches.numbers is None or found.rows is None else torch.tensor(batches.numbers)[found.rows]
    arrays: dict[str, Any] = dict(zip(keys, (_array(entry) for entry in found.inputs), strict=True))
    if rows is not None:
        arrays[ROWS] = rows.numpy()
    np.savez(path, **arrays)
    return path


def _columns(batches: Iterable[Any], keys: list[str]) -> Iterator[Samples]:
    """The entries of every batch in order, whose keys are noted."""
    for batch in batches:
        entries = _entries(batch)
        keys[:] = keys or entries
        if list(entries) != keys:
            raise DatasetInvalid(f"{SOURCE}: a batch has the entries {', '.join(entries)}, the first {keys}.")
        yield Samples(inputs=tuple(entries.values()))


def _entries(batch: Any) -> dict[str, Tensor]:
    """The numbers of a batch under their keys, or under the names that numpy gives to places."""
    if isinstance(batch, Mapping):
        found = {str(key): entry for key, entry in batch.items() if is_number(entry)}
    else:
        found = {f"arr_{place}": entry for place, entry in enumerate(leaves(batch))}
    if not found or not all(map(is_number, found.values())):
        raise DatasetInvalid(
            f"{SOURCE}: a batch is a {type(batch).__name__} that holds more than arrays, or none. Give x, (x, y) or a"
            " mapping of arrays.",
            field=FIELD,
        )
    tensors = {key: torch.as_tensor(entry) for key, entry in found.items()}
    if next(iter(tensors.values())).dim() and not all(entry.dim() for entry in tensors.values()):
        return {key: entry[None] for key, entry in tensors.items()}  # a label without axes is that of one sample
    return tensors


def _array(entry: Tensor) -> Any:
    plain = entry.detach().cpu()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()


def _told(why: BaseException, inputs: Inputs) -> CoppiceError:
    shown = ";".join(sizes(tuple(entry.shape)) for entry in inputs)
    return DatasetInvalid(
        f"{SOURCE}: the model does not run on an input of {shown}: {last_line(why)}.",
        field=FIELD,
    )
