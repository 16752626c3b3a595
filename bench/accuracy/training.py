"""Training, measuring and retraining: the same for every net and every engine."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bench.accuracy.data import Data, Images
from bench.accuracy.nets import Entry
from coppice.steps.apply import copied

#: As the Keras document retrains, but down to zero along a cosine: a constant rate ends on noise.
RETRAINING_RATE, MOMENTUM = 0.01, 0.9
#: As in the PyTorch document; with few images a step, what a step saw last decides.
RETRAINING_BATCH = 64
#: The short retraining; the long one is an epoch.
STEPS = 40


def trained(entry: Entry, images: Data, seed: int, cache: Path) -> nn.Module:
    """The dense network of a seed, in evaluation mode; from the cache where the code that makes it has not changed."""
    torch.manual_seed(seed)
    model = entry.build()
    made_by = "".join(inspect.getsource(part) for part in (entry.build, trained, fit, _batches))
    known = (images.name, len(images.train), seed, entry.epochs[images.name], entry.rate, repr(model), made_by)
    file = cache / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}.pth"
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    steps = entry.epochs[images.name] * (len(images.train) // images.batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=entry.rate, momentum=MOMENTUM, weight_decay=5e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=entry.rate, total_steps=steps)
    batches = _batches(images.train, images.batch, seed)
    for _ in range(steps):
        fit(model, next(batches), optimizer)
        cycle.step()
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), file)
    return model.eval()


def fit(model: nn.Module, batch: Images, optimizer: torch.optim.Optimizer) -> None:
    """One step towards the labels."""
    model.train()
    optimizer.zero_grad()
    torch.autograd.backward(F.cross_entropy(model(batch.x), batch.y))
    optimizer.step()


def _batches(images: Images, size: int, seed: int) -> Iterator[Images]:
    """Epoch after epoch, shuffled; what does not fill a batch is left out."""
    shuffled = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.split(torch.randperm(len(images), generator=shuffled), size):
            if len(rows) == size:
                yield Images(x=images.x[rows], y=images.y[rows])


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Share of the images that are classified as their labels say."""
    model.eval()
    batches = zip(torch.split(images.x, 500), torch.split(images.y, 500), strict=True)
    return sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in batches) / len(images)


def normed_again(model: nn.Module, samples: torch.Tensor) -> nn.Module | None:
    """A copy with the statistics of every batch norm taken anew from the samples; None where it has none."""
    model = copied(model).eval()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    if not norms:
        return None
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all that is seen
        norm.train()
    with torch.no_grad():
        model(samples)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def retrained(start: nn.Module, images: Data, seed: int) -> tuple[float, ...]:
    """Accuracies of a copy after 40 steps and of another after an epoch, each with a schedule that ends there."""
    return tuple(_after(start, images, steps, seed) for steps in (STEPS, len(images.train) // RETRAINING_BATCH))


def _after(start: nn.Module, images: Data, steps: int, seed: int) -> float:
    torch.manual_seed(seed)  # for dropout
    model = copied(start)
    model.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=RETRAINING_RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    batches = _batches(images.train, RETRAINING_BATCH, 1000 + seed)
    for _ in range(steps):
        fit(model, next(batches), optimizer)
        schedule.step()
    return accuracy(model, images.test)
