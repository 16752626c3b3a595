"""quality: how good a model is on samples that nothing was fitted to, and how near its outputs are to the original's.

The original is run once, its outputs are kept, and every other model is held to them. All figures are plain means in
float64, so that anybody can compute them again:

- accuracy: the share of samples whose largest output is the one that their label names;
- agreement: the share whose largest output is the same as the original's;
- error, of a regression: mean((output - target)²) / var(targets);
- distance, where every output is probabilities or logarithms of some, or the labels are classes (then of the softmax):
  js, the mean over the samples of (sum(p * log(p / m)) + sum(q * log(q / m))) / 2, p the original's probabilities, q
  the model's and m = (p + q) / 2: Jensen and Shannon's divergence (Lin, Divergence Measures Based on the Shannon
  Entropy, 1991, equation 3.3), which a single confident mistake can't outweigh as it does Kullback and Leibler's;
- distance elsewhere: mse, mean((output - original's)²) / var(original's outputs).

Of several outputs the distance is the mean. A model with one output for each sample, where labels are 0 and 1, decides
by 0.5 if it gives probabilities, else by 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from coppice.calibration.probabilities import logits, probabilities
from coppice.records.report import Distance, Fidelity
from coppice.steps.activations import peak
from coppice.steps.distances import divergence, squared
from coppice.tracing import Network, forward
from coppice.tracing.samples import Samples

#: So many samples run at a time at most, and fewer where their activations would take more than that.
BATCH, BATCH_BYTES = 64, 256 * 1024**2
#: Of the original's outputs so much is kept; samples beyond it are not judged by: a class for every pixel is large.
OUTPUT_BYTES = 128 * 1024**2

#: An output, to the class of every sample; -1, which is no class, where it is not a number.
_Decide = Callable[[Tensor], Tensor]


class Judge:
    """Holds models, in evaluation mode, to a network's outputs on samples: `judge.of(module)`."""

    def __init__(self, network: Network, samples: Samples) -> None:
        #: What the activations of one sample take, bytes.
        self.sample_bytes = max(1, peak(network.module, network.sample))
        self._size = max(1, min(BATCH, BATCH_BYTES // self.sample_bytes))
        self._wanted = wanted = _outputs(network.module, samples.batches(self._size), OUTPUT_BYTES)
        #: What is judged by.
        self.samples = samples[slice(0, wanted.samples)]
        self._answer = _answer(wanted, self.samples)
        told = [probabilities(leaf) for leaf in wanted.leaves]
        if self.samples.classified and self._answer is not None and self._answer.decide is _largest:
            place = self._answer.place
            told[place] = told[place] or logits(wanted.leaves[place])
        self._told = [one for one in told if one is not None]
        self.distance = Distance.JS if len(self._told) == len(told) else Distance.MSE
        #: Whether the original gives a number for any sample.
        self.finite = any(bool(leaf.isfinite().any()) for leaf in wanted.leaves)
        #: How the original itself does.
        self.original = self._fidelity(wanted)

    def of(self, module: nn.Module) -> Fidelity:
        """How a model does that gives outputs of the same shapes; one that does not is as far away as can be."""
        return self._fidelity(_outputs(module, self.samples.batches(self._size)))

    def snr(self, reference: nn.Module, module: nn.Module) -> float | None:
        """Power of a model's outputs over that of another's difference from them, decibels; None where none differs.

        Of all outputs together, each less its mean over the samples, which says nothing of them.
        """
        wanted, found = (_outputs(one, self.samples.batches(self._size)) for one in (reference, module))
        if found.shapes != wanted.shapes:
            return None
        power = noise = 0.0
        for want, got in zip(wanted.leaves, found.leaves, strict=True):
            power += (want.double() - want.double().mean(0)).square().sum().item()
            noise += (want.double() - got.double()).square().sum().item()
        return 10 * math.log10(power / noise) if power and noise and math.isfinite(power / noise) else None

    def _fidelity(self, found: _Outputs) -> Fidelity:
        wanted, answer, labels = self._wanted, self._answer, self.samples.labels
        if found.shapes != wanted.shapes:
            return Fidelity(distance=None)
        accuracy = agreement = error = None
        if answer is not None:
            classes = answer.of(found)
            agreement = _share(classes == answer.of(wanted))
            accuracy = None if labels is None else _share(classes == labels.flatten())
        elif labels is not None and labels.numel() == found.leaves[0].numel():
            error = _finite(squared(labels.reshape(found.leaves[0].shape), found.leaves[0]))
        return Fidelity(accuracy=accuracy, agreement=agreement, error=error, distance=_finite(self._apart(found)))

    def _apart(self, found: _Outputs) -> float:
        pairs = list(zip(self._wanted.leaves, found.leaves, strict=True))
        if self.distance is Distance.JS:
            each = [divergence(want, got, told) for (want, got), told in zip(pairs, self._told, strict=True)]
        else:
            each = [squared(want, got) for want, got in pairs]
        return sum(each) / len(each)


def apart(fidelity: Fidelity) -> float:
    """The distance as a number to compare by: infinite where an output is not a number, or has another shape."""
    return math.inf if fidelity.distance is None else fidelity.distance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outputs:
    """What a model gives for samples: its outputs in order, each for all samples, and the shapes that it gave."""

    leaves: tuple[Tensor, ...]
    shapes: list[list[torch.Size]]
    samples: int


def _outputs(module: nn.Module, batches: Iterable[Samples], most: float = math.inf) -> _Outputs:
    """Of as many batches as stay below so many bytes, and the one that does not."""
    given: list[list[Tensor]] = []
    samples, size = 0, 0
    for batch in batches:
        given.append(_numbers(forward(module, batch.inputs)))
        samples += len(batch)
        size += sum(leaf.nbytes for leaf in given[-1])
        if size >= most:
            break
    shapes = [[leaf.shape for leaf in leaves] for leaves in given]
    return _Outputs(leaves=tuple(_joined(given)), shapes=shapes, samples=samples)


def _numbers(outputs: Any) -> list[Tensor]:
    """The outputs that have a fraction, as real numbers; all of them where none has."""
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    real = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in leaves]
    # A copy: what the model gave may be a view of something large.
    return [leaf.clone() for leaf in real if leaf.is_floating_point()] or [leaf.double() for leaf in real]


def _joined(given: list[list[Tensor]]) -> Iterator[Tensor]:
    """Each output for all batches; as one line of numbers where batches differ in more than their number of rows."""
    if len({len(leaves) for leaves in given}) > 1:  # as many boxes as were found
        yield torch.cat([leaf.flatten() for leaves in given for leaf in leaves])
        return
    for parts in zip(*given, strict=True):
        alike = all(part.dim() for part in parts) and len({part.shape[1:] for part in parts}) == 1
        yield torch.cat(parts if alike else [part.flatten() for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The output that names a class for every sample, and how."""

    place: int
    decide: _Decide

    def of(self, outputs: _Outputs) -> Tensor:
        """The classes that were named."""
        return self.decide(outputs.leaves[self.place])


def _answer(wanted: _Outputs, samples: Samples) -> _Answer | None:
    """The first output that can be one: a number for every class, or one number where labels are 0 and 1."""
    labels = samples.labels
    rows = [(place, leaf) for place, leaf in enumerate(wanted.leaves) if len(leaf) == len(samples)]
    if labels is None or samples.classified:
        for place, leaf in rows:
            if leaf[0].numel() == max(leaf.shape[1:], default=1) > 1:
                return _Answer(place=place, decide=_largest)
    if labels is not None and bool(((labels == 0) | (labels == 1)).all()):
        for place, leaf in rows:
            if leaf.numel() == labels.numel() == len(samples):
                return _Answer(place=place, decide=_probable if 0 <= leaf.min() <= leaf.max() <= 1 else _positive)
    return None


def _largest(leaf: Tensor) -> Tensor:
    rows = leaf.flatten(1)
    return torch.where(rows.isnan().any(1), -1, rows.argmax(1))


def _probable(leaf: Tensor) -> Tensor:
    return torch.where(leaf.isnan(), -1, (leaf > 0.5).long()).flatten()


def _positive(leaf: Tensor) -> Tensor:
    return torch.where(leaf.isnan(), -1, (leaf > 0).long()).flatten()


def _share(true: Tensor) -> float:
    return true.double().mean().item()


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
