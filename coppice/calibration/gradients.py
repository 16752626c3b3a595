"""Passes backward: how much a change of each output of a product, or of each weight, changes what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from coppice.calibration.moments import Region, region
from coppice.calibration.portion import Portion
from coppice.calibration.probabilities import Probabilities, logits, probabilities
from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.tracing import Network, blame, stored
from coppice.tracing.composites import decomposed
from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.outputs import opened
from coppice.tracing.samples import Samples
from coppice.tracing.tracer import SEED

#: Of a stored tensor's gradient times its values: the sums along an axis, a number for each position.
Slopes = Mapping[tuple[str, int], Tensor]


class NoGradient(Exception):
    """A pass backward was not possible, with the reason."""


def fisher(network: Network, portion: Portion, seed: int) -> dict[Region, Tensor]:
    """How much the loss of one sample grows with the variance of an error in each output of a product, twice.

    That is the diagonal of the Fisher information of the outputs, summed over rows: E[(dL/dy)^2], with labels drawn
    from what the model itself says (Kunstner, Hennig and Balles, Limitations of the Empirical Fisher Approximation,
    NeurIPS 2019, equation 2: not the labels of the data). An output that tells no probabilities is the mean of a normal
    distribution, as wide as the output varies. Products that no gradient reaches are left out; raises NoGradient.
    """
    generator = torch.Generator().manual_seed(seed)
    seen = _Backward(network.module)
    regressed = network.samples is not None and network.samples.labels is not None and not network.samples.classified
    for batch in portion.batches():
        with _differentiated(network, batch) as (outputs, sources):
            surprise = [_surprise(leaf, _told(leaf, regressed), generator) for leaf in _smooth(outputs)]
            if not surprise:
                raise NoGradient("no gradient leads from the outputs back to the inputs")
            with seen:
                torch.autograd.grad(torch.stack(surprise).sum(), sources, allow_unused=True)
    if not all(bool(one.isfinite().all()) for one in seen.squares.values()):
        raise NoGradient("the gradients are not numbers")
    return {key: squares / len(portion.samples) for key, squares in seen.squares.items()}


def slopes(network: Network, portion: Portion, axes: Sequence[tuple[str, int]]) -> list[Slopes]:
    """For every batch: gradient of the mean loss times value, summed for each position of the axes; raises NoGradient.

    The loss is the cross entropy where labels are classes, else the mean squared error.
    """
    found: list[Slopes] = []
    names = sorted({name for name, _ in axes})
    for batch in portion.batches():
        with _differentiated(network, batch, names) as (outputs, sources):
            loss = _loss(_smooth(outputs), batch)
            gradients = torch.autograd.grad(loss, sources, allow_unused=True)
            along = {}
            for name, source, gradient in zip(names, sources, gradients, strict=True):
                each = torch.zeros_like(source) if gradient is None else (source * gradient).detach()
                for axis in (axis for one, axis in axes if one == name):
                    along[name, axis] = each.double().movedim(axis, 0).flatten(1).sum(1) if each.dim() > 1 else each
            found.append(along)
    return found


def _told(leaf: Tensor, regressed: bool) -> Probabilities | None:
    known = probabilities(leaf.detach())
    return logits(leaf) if known is None and not regressed and leaf.dim() == 2 and leaf.shape[1] > 1 else known


def _surprise(leaf: Tensor, told: Probabilities | None, generator: torch.Generator) -> Tensor:
    """Minus the logarithm of the probability of an answer that is drawn from the output, up to a constant."""
    if told is None:
        wide = leaf.detach().double().std(correction=0).clamp(min=torch.finfo(torch.float32).tiny)
        noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        return (leaf.double() * noise).sum() / (wide if wide.isfinite() else 1)
    logarithms = told.of(leaf)
    drawn = torch.multinomial(logarithms.detach().exp(), 1, generator=generator)
    return -logarithms.gather(1, drawn).sum()


def _loss(leaves: Sequence[Tensor], batch: Samples) -> Tensor:
    labels = batch.labels
    if labels is None:
        raise NoGradient("there are no labels")
    for leaf in leaves:
        if batch.classified and leaf.dim() == 2 and len(leaf) == len(labels) and int(labels.max()) < leaf.shape[1] > 1:
            told = probabilities(leaf.detach()) or logits(leaf)
            return -told.of(leaf).gather(1, labels[:, None]).mean()
        if leaf.numel() == labels.numel():
            given, wanted = leaf.double().flatten(), labels.double().flatten()
            if not batch.classified:
                return (given - wanted).square().mean()
            probable = given if 0 <= given.min() <= given.max() <= 1 else given.sigmoid()
            return torch.nn.functional.binary_cross_entropy(probable, wanted)
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
    raise NoGradient(f"the labels fit none of the outputs, whose shapes are {shapes}")


def _smooth(outputs: Any) -> list[Tensor]:
    """The outputs through which a gradient can go."""
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]


@contextmanager
def _differentiated(
    network: Network, batch: Samples, names: Sequence[str] = ()
) -> Iterator[tuple[Any, Sequence[Tensor]]]:
    """The outputs of a forward pass with gradients, and the tensors that these lead to: `names`, else the inputs.

    Where an input has no gradient, since it is an index, every stored tensor is one of them. The model's own marks of
    what is trained are as they were afterwards. Whatever fails raises NoGradient.
    """
    module, tensors = network.module, stored(network.module)
    smooth = all(entry.is_floating_point() for entry in batch.inputs)
    inputs = [entry.detach().clone() for entry in batch.inputs]
    sources = [tensors[name] for name in names]
    if not names:
        sources = inputs if smooth else [one for one in tensors.values() if one.is_leaf and one.is_floating_point()]
    before = {id(one): one.requires_grad for one in tensors.values()}
    try:
        for one in tensors.values():
            if one.is_leaf and one.is_floating_point():
                one.requires_grad_(any(one is source for source in sources))
        for one in inputs:
            one.requires_grad_(any(one is source for source in sources))
        with torch.enable_grad(), decomposed(), no_leftovers(module), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            # What flows in is no leaf: a model may change it in place.
            yield opened(module(*(one.view_as(one) for one in inputs))), sources
    except (NoGradient, MemoryError):
        raise
    except Exception as e:  # whatever the model's own code does not allow
        raise NoGradient(blame(e)) from e
    finally:
        for one in tensors.values():
            if one.is_leaf and one.is_floating_point():
                one.requires_grad_(before[id(one)])


class _Backward(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Sums the squares of the gradients with which a pass backward meets stored weights, for each output of theirs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.squares: dict[Region, Tensor] = {}

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: the gradient of a product's inputs is one with its weight, turned."""
        self._add(region(product.tensor, product.weight), product.channels().square().sum(1, dtype=torch.float64))
        return func(*args, **kwargs)

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Any other call, of which a convolution's has an operator of its own."""
        if func._schema.name == "aten::convolution_backward":
            gradient, weight, groups = args[0], args[2], args[9]
            name = self.owners.of(weight)
            if name is not None:
                by_output = gradient.square().flatten(2).sum((0, 2), dtype=torch.float64)
                self._add(region(name, weight), by_output.reshape(groups, -1))
        return func(*args, **kwargs)

    def _add(self, key: Region, squares: Tensor) -> None:
        self.squares[key] = self.squares[key] + squares if key in self.squares else squares
