"""Samples for the engine from what a user sends: how many are read, which of them are left out, what their labels are.

A file or an object of the user's becomes a stream of batches elsewhere, one module per kind; here is what holds for all
of them. Nothing is left out in silence: every sentence of `Read.notes` is in the report.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from coppice.errors import DatasetInvalid
from coppice.formats.labels import understood
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.records.request import Part
from coppice.tracing import forward
from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.samples import FEWEST, Samples

Inputs = tuple[Tensor, ...]

#: A fit takes 512 of them (`tracing.samples`), and as many again say what came of it.
MOST = 1024
#: What they may take in memory, labels included, and three times as much while they are sifted and put in order: of a
#: job's 4 GiB enough is left for the model, its copies and its activations. It is 445 images of 3 x 224 x 224.
MOST_BYTES = 256 * 1024 * 1024
#: The batch that the engine traces and compares on: one sample can't show which axis is the batch, more only cost time.
SMALL = 2
#: Ends the refusals of what the model would do without.
OPTIONAL = "The sample is optional: leave it out, or send one in memory, such as TensorDataset(images, labels)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Samples as they were found, where, and what is to be said of them."""

    samples: Samples
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What the engine is given: its small batch, the samples if they are fit for use, and notes for the report."""

    inputs: Inputs
    samples: Samples | None = None
    notes: tuple[str, ...] = ()


def room(row_bytes: int) -> int:
    """How many samples of that size are read; those of the small batch, however large they are."""
    return max(SMALL, min(MOST, MOST_BYTES // max(1, row_bytes)))


def drawn(rows: int, most: int, seed: int) -> list[int]:
    """The numbers of `most` rows, ascending: of data that is sorted by class, the first ones would be of one class."""
    return list(range(rows)) if rows <= most else sorted(random.Random(seed).sample(range(rows), most))  # noqa: S311


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Whatever a loader draws by chance, its order and its augmentations, is the same for a seed."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def gathered(batches: Iterable[Samples], *, source: str, seed: int) -> Gathered:
    """As many samples as there is room for, of the first one's shape, from at most as many batches, as they come.

    What fails after the first batch ends the reading, with a note.
    """
    kept: list[Samples] = []
    rows, others, most, came = 0, 0, MOST, 0
    notes = []
    try:
        for batch in filter(len, islice(batches, MOST)):
            numbers = torch.arange(came, came + len(batch))
            came += len(batch)
            if not kept:
                most = room(_row_bytes(batch))
            elif not _alike(batch.inputs, kept[0].inputs):
                others += len(batch)
                continue
            # A copy: a loader may fill the same memory again, and a part would hold on to the whole.
            kept.append(replace(batch, rows=numbers)[torch.tensor(drawn(len(batch), most - rows, seed))])
            rows += len(kept[-1])
            if rows >= most:
                break
    except DatasetInvalid as e:
        if not kept:
            raise
        why = e.message.removesuffix(OPTIONAL).strip()
        notes.append(f"Reading the samples stopped after {rows}, which are used. {why}")
    if not kept:
        raise DatasetInvalid(f"{source}: there are no samples in it.", field=Part.DATASET)
    if others:
        shape = ",".join(map(str, kept[0].inputs[0].shape[1:])) or "()"
        notes.append(f"{others} samples are of another shape than the first, {shape}, and are left out.")
    labels, told = _joined([batch.labels for batch in kept])
    columns = zip(*(batch.inputs for batch in kept), strict=True)
    inputs = tuple(torch.cat(column) if column[0].dim() else column[0] for column in columns)
    numbered = torch.cat([batch.rows for batch in kept if batch.rows is not None])
    return Gathered(samples=Samples(inputs=inputs, labels=labels, rows=numbered), source=source, notes=(*notes, *told))


def usable(
    found: Gathered,
    module: nn.Module,
    *,
    seed: int,
    small: int = SMALL,
    first_run: Callable[[Inputs], object] | None = None,
) -> Read:
    """What of the samples the engine can use with this model, after `first_run` has taken the small batch.

    Raises DatasetInvalid where none of them is finite, or where the model does not run on all of them.
    """
    samples, notes = _finite(found.samples, found.source)
    inputs = samples[torch.arange(small) % len(samples)].inputs if small > len(samples) else samples[:small].inputs
    if first_run is not None:
        first_run(inputs)
    notes = [*found.notes, *notes]
    if (distinct := _distinct(samples)) < FEWEST:
        counted = f"{distinct} samples" if distinct == len(samples) else f"{len(samples)} samples, {distinct} distinct,"
        notes.append(
            f"{counted} are too few to repair the model or to judge it by: {FEWEST} different ones are needed."
        )
        return Read(inputs=inputs, notes=tuple(notes))
    # An odd number, so that it is no multiple of the small batch either.
    if (why := failure(module, samples[torch.tensor([0, 1, 0])].inputs)) is not None:
        notes.append(
            f"The model runs on batches of {small} and not of 3 ({last_line(why)}): it is run on the samples {small} at"
            " a time."
        )
        samples = replace(samples[: len(samples) - len(samples) % small], only=small)
        if len(samples) < max(FEWEST, 2 * small):
            notes.append("They are too few for that, and are not used.")
            return Read(inputs=inputs, notes=tuple(notes))
    _refuse_out_of_range(samples, module, found.source, small)
    labels, said = understood(samples.labels, forward(module, samples[:small].inputs), rows=small)
    # Shuffled: those at the end are held out, and of sorted data they would be of other classes.
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return Read(inputs=inputs, samples=replace(samples, labels=labels)[order], notes=(*notes, *said))


def _row_bytes(batch: Samples) -> int:
    columns = [*batch.inputs, *([] if batch.labels is None else [batch.labels])]
    return sum(entry[0].nbytes for entry in columns if entry.dim())


def _alike(some: Inputs, others: Inputs) -> bool:
    return len(some) == len(others) and all(
        one.dtype == other.dtype
        and one.dim() == other.dim()
        and one.shape[1:] == other.shape[1:]
        # A number for all samples has to be the same number.
        and (one.dim() > 0 or torch.equal(one, other))
        for one, other in zip(some, others, strict=True)
    )


def _joined(parts: Sequence[Tensor | None]) -> tuple[Tensor | None, Iterator[str]]:
    there = [part for part in parts if part is not None]
    if there and len(there) == len(parts) and len({part.shape[1:] for part in there}) == 1:
        return torch.cat(there), iter(())
    return None, iter(["The labels are not used: not every batch has some of the same shape."] if there else [])


def _finite(samples: Samples, source: str) -> tuple[Samples, list[str]]:
    """Without the samples in which there are numbers that are none."""
    good = torch.ones(len(samples), dtype=torch.bool)
    for entry in samples.inputs:
        good &= entry.isfinite().flatten(1).all(1) if entry.dim() else bool(entry.isfinite())
    bad = len(samples) - int(good.sum())
    if bad == len(samples):
        raise DatasetInvalid(
            f"{source}: none of the {bad} samples that were read is finite; there are NaN or infinite numbers in each.",
            field=Part.DATASET,
        )
    if not bad:
        return samples, []
    return samples[good.nonzero().flatten()], [
        f"{bad} of {len(samples)} samples hold NaN or infinite numbers and are left out."
    ]


def _distinct(samples: Samples) -> int:
    """How many samples differ from one another, counted up to the number that is enough."""
    seen = set[bytes]()
    for row in range(len(samples)):
        columns = [entry[row] for entry in samples.inputs if entry.dim()]
        seen.add(b"".join(_digest(column) for column in columns))
        if len(seen) >= FEWEST:
            break
    return len(seen)


def _digest(tensor: Tensor) -> bytes:
    return sha256(tensor.contiguous().flatten().view(torch.uint8).cpu().numpy().tobytes()).digest()


def _refuse_out_of_range(samples: Samples, module: nn.Module, source: str, small: int) -> None:
    """Run the samples with the smallest and the largest whole numbers: a table may not have that many rows."""
    counted = [entry for entry in samples.inputs if entry.dim() and not entry.is_floating_point() and entry[0].numel()]
    extremes = {
        int(row) for entry in counted for row in (entry.flatten(1).amax(1).argmax(), entry.flatten(1).amin(1).argmin())
    }
    if not extremes:
        return
    rows = torch.tensor(sorted(extremes))
    for start in range(0, len(rows), small):
        chosen = rows[(torch.arange(small) + start) % len(rows)]
        if (why := failure(module, samples[chosen].inputs)) is None:
            continue
        reach = "; ".join(f"{int(entry.min())} to {int(entry.max())}" for entry in counted)
        raise DatasetInvalid(
            f"{source}: the model does not run on all of the samples, whose whole numbers go from {reach}:"
            f" {last_line(why)}",
            field=Part.DATASET,
        ) from why


def failure(module: nn.Module, inputs: Inputs) -> BaseException | None:
    """What the model's forward raises on these inputs, if it does."""
    try:
        with torch.no_grad(), no_leftovers(module), torch.random.fork_rng(devices=[]):
            module(*inputs)
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        return e
    return None
