"""The first run of an interpreter's module: which of several example inputs it takes, and where it failed if none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from coppice.errors import CoppiceError

#: What torch and plain Python raise on numbers and structures that make no sense.
UNREADABLE = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)

#: Makes inputs, runs the module on them and gives them.
Attempt = Callable[[], tuple[Tensor, ...]]


@dataclass(slots=True)
class DoesNotRun(Exception):
    """No attempt ran: the part at which the last one stopped, and what the first one said."""

    where: str
    reason: str


def first_run(parts: Iterable[nn.Module], attempts: Iterable[Attempt]) -> tuple[Tensor, ...]:
    """The inputs of the first attempt that runs; `parts` have a layer's name and class. Raises DoesNotRun."""
    at: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda part, _: at.append(f"{part.layer_name!r} ({part.class_name})"))
        for part in parts
    ]
    failure: Exception | None = None
    try:
        for attempt in attempts:
            at.clear()
            try:
                return attempt()
            except CoppiceError:
                raise
            except UNREADABLE as e:
                if "allocate memory" in str(e):
                    raise
                failure = failure or e
    finally:
        for hook in hooks:
            hook.remove()
    raise DoesNotRun(at[-1] if at else "", _first_line(failure)) from failure


def _first_line(failure: Exception | None) -> str:
    text = str(failure).strip()
    return text.splitlines()[0][:300] if text else type(failure).__name__
