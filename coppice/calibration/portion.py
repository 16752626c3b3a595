"""How many samples a pass over a model looks at, and how many at a time: so that neither time nor memory runs away.

Both follow from the model alone, not from the machine: the same request looks at the same samples everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.tracing import Network
from coppice.tracing.samples import Samples

#: Statistics of channels hardly change beyond so many samples, and are too rough below so many.
MOST, LEAST = 256, 16
#: Between the two: as many as take so many multiply-accumulates in one forward pass, some seconds of a processor.
MACS = 60 * 10**9
#: What the results of all calls of a batch may take together, since a backward pass needs most of them.
BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Samples that a pass looks at, `size` at a time."""

    samples: Samples
    size: int

    def batches(self) -> Iterator[Samples]:
        """In order."""
        return self.samples.batches(self.size)

    def __len__(self) -> int:
        """How many batches there are."""
        return -(-len(self.samples) // self.size)


def portion(network: Network, samples: Samples) -> Portion:
    """The first of the samples, as many as are needed and no more; raises ForwardFailed."""
    load = _Load(network.module)
    load.over(network.inputs)
    rows = next((entry.shape[0] for entry in network.inputs if entry.dim()), 1)
    enough = min(MOST, max(LEAST, MACS * rows // max(1, load.macs)))
    size = min(enough, max(1, BYTES * rows // max(1, load.bytes)))
    if samples.only is not None:
        size = samples.only
        enough = max(size, enough - enough % size)
    return Portion(samples=samples[slice(0, enough)], size=size)


class _Load(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Adds up what one pass computes and what it makes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.macs = 0
        self.bytes = 0

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: every row meets the whole weight."""
        result = self.passed(func, args, kwargs)
        self.macs += product.rows(result) * product.weight.numel()
        return result

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Any call: its results, but for views of what was there."""
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.bytes += sum(leaf.nbytes for leaf in made if leaf.untyped_storage()._cdata not in given)
        return result
