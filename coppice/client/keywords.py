"""What a call of the client may be told by keyword: what the library may be, and what only a service has a use for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict

from coppice.records.keywords import Numbers, Options, Shape, Sweeping
from coppice.records.plan import Plan
from coppice.records.report import Tell


class Handling(TypedDict, total=False):
    """How a model is run, and how a service is to handle its job."""

    input_size: str | Sequence[int]  # shape of one sample, no batch dimension; several as text: "3,32,32;10"
    samples: Any  # data that the weights are repaired on: a file, an array, (x, y), a mapping, a loader, batches
    queue: str  # the workers that run it, e.g. "gpu"
    priority: str  # which of one's own jobs go first: "low", "normal", "high"
    time_limit: int  # seconds
    webhook: str  # address that is told of the end
    progress: Tell | bool  # of the upload: told to a function, or by a bar (the default), or not


class Pruning(Options, Handling, total=False):
    """What `prune_...` may be told beside the model and how much of it is to go."""

    plan: Plan | str | PathLike[str]  # what to remove, in place of `percent`, or the file of it
    precision: str  # quantize what is left, too
    weights: str  # these six as in `Numbers`
    biases: str
    activations: str
    layers: Mapping[str, str]
    rounding: str
    format: str


class Quantizing(Numbers, Handling, total=False):
    """What `quantize_...` may be told beside the model and the precision."""


class Curve(Sweeping, Handling, total=False):
    """What `sweep_...` may be told beside the model, the ratios and the precisions."""


class Looking(Shape, Handling, total=False):
    """What `inspect_...` may be told beside the model and how much would go."""
