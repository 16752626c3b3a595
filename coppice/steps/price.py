"""price: what the elements of a model's tensors cost, so that the cost of a plan is arithmetic.

Parameters and bytes are exact. Multiply-accumulates are those counted at each weight, in proportion to what is left of
it; products of two activations (attention's own) belong to no weight, are taken not to shrink, and are why the count
of a cut model is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from torch import nn

from coppice.records.request import Target
from coppice.steps.macs import count_macs, macs_at_weights
from coppice.tracing import Network, stored
from coppice.tracing.integers import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The cost of one element of each tensor, and of what belongs to none."""

    shapes: Mapping[str, tuple[int, ...]]
    each: Mapping[str, float]
    rest: float = 0

    def of(self, kept: Kept) -> float:
        """The cost once only the positions `kept` stay: tensor -> axis -> positions."""
        return self.rest + sum(
            price * prod(len(kept[name].get(axis, range(n))) for axis, n in enumerate(self.shapes[name]))
            if name in kept
            else price * prod(self.shapes[name])
            for name, price in self.each.items()
        )

    def saved(self, kept: Kept) -> float:
        """The share of the model's cost that does not stay."""
        return 1 - self.of(kept) / whole if (whole := self.of({})) else 0.0


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in stored(network.module).items()}


def _parameters(network: Network) -> Prices:
    each = {name: 1 for name, tensor in stored(network.module).items() if isinstance(tensor, nn.Parameter)}
    return Prices(shapes=_shapes(network), each=each)


def _bytes(network: Network) -> Prices:
    buffers = {id(buffer) for buffer in network.module.buffers()}
    each = {
        name: tensor.element_size()
        for name, tensor in stored(network.module).items()
        if isinstance(tensor, nn.Parameter) or id(tensor) in buffers
    }
    return Prices(shapes=_shapes(network), each=each)


def _macs(network: Network) -> Prices:
    shapes, found = _shapes(network), macs_at_weights(network.module, network.sample)
    each = {name: count / prod(shapes[name]) for name, count in found.items() if count}
    return Prices(shapes=shapes, each=each, rest=count_macs(network.module, network.sample) - sum(found.values()))


#: What each target's cuts are priced by; latency, which only a clock can tell, by what most of it goes into.
PRICES: Mapping[Target, Callable[[Network], Prices]] = {
    Target.PARAMS: _parameters,
    Target.BYTES: _bytes,
    Target.MACS: _macs,
    Target.LATENCY: _macs,
}
