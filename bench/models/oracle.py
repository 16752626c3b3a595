"""The oracle that believes no engine: what was kept is read off the numbers, the rest is zeroed in the dense model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.models.recovery import NotASlice, kept_of
from coppice.errors import ForwardFailed, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Check
from coppice.steps.apply import copied, masked
from coppice.steps.twins import Note, differing, watched
from coppice.steps.verify import TOLERANCE, difference
from coppice.tracing import Network, forward


def checked(network: Network, pruned: nn.Module) -> dict[str, Any]:
    """The outcome of holding a pruned model to the masked original, and what explains it."""
    try:
        plan = kept_of(network.module, pruned)
    except NotASlice as e:
        return {"outcome": "wrong", "why": str(e)}
    if not plan:
        return {"outcome": "nothing"}
    dtype = torch.float64
    try:
        worst = _difference(network, pruned, plan, dtype)
    except ForwardFailed:  # the model's code insists on float32
        dtype = torch.float32
        worst = _difference(network, pruned, plan, dtype)
    except VerificationFailed as e:
        return {"outcome": "wrong", "why": e.message}
    if worst <= TOLERANCE[dtype]:
        return {"outcome": Check.EXACT.value, "difference": worst}
    try:
        held = _statistics(network, pruned)
        with_statistics = _difference(network, pruned, plan, dtype, held)
    except VerificationFailed as e:
        return {"outcome": "wrong", "difference": worst, "why": e.message}
    if held and with_statistics <= TOLERANCE[dtype]:
        return {"outcome": Check.STATISTICS.value, "difference": with_statistics}
    return {"outcome": "wrong", "difference": worst, "why": "differs from the masked original"}


def _statistics(network: Network, pruned: nn.Module) -> dict[int, Note]:
    with watched() as of_original:
        forward(network.module, network.inputs)
    with watched() as of_pruned:
        forward(pruned, network.inputs)
    return differing(of_original, of_pruned)


def _difference(
    network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype, held: Mapping[int, Note] | None = None
) -> float:
    inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in network.inputs)
    dense, cut = masked(network.module, plan).to(dtype), copied(pruned).to(dtype)
    with watched(held):
        expected = forward(dense, inputs)
    with watched(held):
        return difference(expected, forward(cut, inputs))
