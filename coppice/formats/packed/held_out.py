"""The samples held out, as a process of its own runs them: in batches there, as rows of each output here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coppice.tracing.samples import Samples

#: Few, because nobody knows here what the activations of one sample take.
BATCH = 16


def batches(samples: Samples | None) -> list[tuple[Tensor, ...]]:
    """The inputs of each batch; none where there are no samples."""
    return [] if samples is None else [batch.inputs for batch in samples.batches(BATCH)]


def rows(given: Sequence[tuple[Tensor, ...]], outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...] | None:
    """The outputs for all samples; None where there are no samples, or an output has not a row for each of them."""
    sizes = [next(entry.shape[0] for entry in inputs if entry.dim()) for inputs in given]
    counted = [(size, leaf) for size, leaves in zip(sizes, outputs, strict=True) for leaf in leaves]
    if not counted or not all(leaf.dim() and len(leaf) == size for size, leaf in counted):
        return None
    return tuple(torch.cat(list(parts)) for parts in zip(*outputs, strict=True))
