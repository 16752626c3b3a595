"""A pass over a model in which every product with a stored weight is seen on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coppice.calibration.products import Owners, Product, product_of
from coppice.tracing import forward
from coppice.tracing.composites import decomposed
from coppice.tracing.mode import DispatchMode


class Watch(DispatchMode):
    """Hands every product to `met`, and every other call to `passed`; both give the result to go on with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.module = module
        self.owners = Owners(module)
        #: How many calls there were, this one included: the same number for the same call in every width of a model.
        self.number = 0

    def over(self, inputs: Sequence[Tensor]) -> Any:
        """The outputs of a forward pass that is watched; raises ForwardFailed."""
        with decomposed(), self:
            return forward(self.module, inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.number += 1
        product = product_of(func, args, kwargs or {}, self.owners)
        if product is None:
            return self.passed(func, args, kwargs or {})
        return self.met(product, func, args, kwargs or {})

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product; as it is, unless a subclass does more."""
        del product
        return func(*args, **kwargs)

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Any other call; as it is, unless a subclass does more."""
        return func(*args, **kwargs)
