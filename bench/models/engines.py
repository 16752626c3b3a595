"""The two engines on one model of the zoo, each called as its own README shows, and what came of it."""

from __future__ import annotations

import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.models.entry import Entry, Inputs
from bench.models.recovery import NotASlice, kept_of
from bench.models.widths import removed, widths
from coppice import pipeline, rules
from coppice.errors import CoppiceError, ForwardFailed, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Check, FrozenReport, Progress
from coppice.records.request import Framework, Request
from coppice.steps.account import Names, frozen
from coppice.steps.apply import copied, masked
from coppice.steps.measure import count_macs
from coppice.steps.twins import Note, differing, watched
from coppice.steps.verify import TOLERANCE, difference
from coppice.tracing import Layer, Network, forward, trace

RATIO = 0.5
_OUTPUT = "output of the model"
#: Reasons kept of a model's account, the most frequent first.
_REASONS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A model as an engine left it, and what its check said."""

    model: nn.Module
    outputs: Collection[str]  # the layers that make the outputs
    seconds: float
    told: Mapping[str, Any]  # outcome, and what explains it


def run(entry: Entry, engine: str) -> dict[str, Any]:
    """Everything that the table says of one model and one engine."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = _network(entry)
    before = widths(network.module)
    # On a copy: some models keep what their first run computes.
    sizes = _sizes(copied(network.module), network.inputs)
    told: dict[str, Any] = {"family": entry.family, **{f"{key}_before": value for key, value in sizes.items()}}
    try:
        cut = ENGINES[engine](network)
    except CoppiceError as e:
        return {**told, "outcome": "refused", "why": e.message[:1000]}
    return {
        **told,
        **removed(before, widths(cut.model), cut.outputs),
        **{f"{key}_after": value for key, value in _sizes(cut.model, network.inputs).items()},
        "seconds": round(cut.seconds, 3),
        **cut.told,
    }


def _network(entry: Entry) -> Network:
    module, inputs = entry.build().eval(), entry.inputs()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            # Biases, norms and their statistics start as constants, in which an error could hide; so do other tensors.
            learnt = isinstance(tensor, nn.Parameter) or name.endswith(("running_mean", "running_var"))
            if learnt and tensor.is_floating_point():
                tensor += (0.3 if tensor.dim() == 1 else 0.001) * torch.rand(tensor.shape).to(tensor)
    layers = tuple(Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules())
    return Network(module=module, inputs=inputs, layers=layers)


def _sizes(module: nn.Module, inputs: Inputs) -> dict[str, int]:
    try:
        macs = count_macs(module, inputs)
    except Exception:  # noqa: BLE001 - a broken result has no cost
        macs = 0
    return {"parameters": sum(entry.numel() for entry in module.parameters()), "macs": macs}


def _coppice(network: Network) -> Cut:
    request = Request(framework=Framework.PYTORCH, percent=RATIO)
    start = time.process_time()
    pruned = pipeline.prune(network, request, _silent)
    seconds = time.process_time() - start
    kept = Counter({f"{group.reason}": group.channels for group in pruned.groups if group.reason})
    check = pruned.verification
    return Cut(
        model=pruned.module,
        outputs=_outputs(network.module, pruned.frozen),
        seconds=seconds,
        told={
            "outcome": "nothing" if check.check is Check.NONE else check.check.value,
            "difference": check.max_relative_difference,
            "notes": list(check.notes)[:_REASONS],
            "refused": dict(kept.most_common(_REASONS)),
            "frozen": _frozen(pruned.frozen),
        },
    )


def _torch_pruning(network: Network) -> Cut:
    import torch_pruning

    # Both engines keep the same outputs: it is told what ours finds out.
    dense = copied(network.module)
    outputs = _outputs(dense, _account(network))
    model = copied(dense)
    model.requires_grad_(True)
    ignored = [part for path, part in model.named_modules() if path in outputs]
    example = network.inputs if len(network.inputs) > 1 else network.inputs[0]
    start = time.process_time()
    try:
        pruner = torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=RATIO,
            ignored_layers=ignored,
        )
        pruner.step()
        seconds = time.process_time() - start
        with torch.no_grad():
            model.eval()(*network.inputs)
    except Exception as e:  # noqa: BLE001 - whatever it raises is its result
        return Cut(model=dense, outputs=outputs, seconds=time.process_time() - start, told=_failed(e))
    return Cut(model=model, outputs=outputs, seconds=seconds, told=_checked(network, model))


def _failed(error: Exception) -> dict[str, Any]:
    return {"outcome": "crashed", "why": f"{type(error).__name__}: {error}"[:500]}


def _checked(network: Network, pruned: nn.Module) -> dict[str, Any]:
    """The same oracle as ours: the dense model with the removed slices zeroed against the pruned one."""
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
    with watched(held):
        expected = forward(masked(network.module, plan).to(dtype), inputs)
    with watched(held):
        return difference(expected, forward(copied(pruned).to(dtype), inputs))


def _outputs(module: nn.Module, entries: Collection[FrozenReport]) -> frozenset[str]:
    """The layers whose own channels leave the model, under every name of a weight that several share."""
    made = {(layer, entry.channels) for entry in entries if entry.reason.startswith(_OUTPUT) for layer in entry.layers}
    sharing: dict[int, list[str]] = defaultdict(list)
    for name, tensor in module.named_parameters(remove_duplicate=False):
        sharing[id(tensor)].append(name.rpartition(".")[0])
    same = {path: paths for paths in sharing.values() for path in paths}
    return frozenset(
        path
        for path, width in widths(module).items()
        if any((other, width) in made for other in [path, *same.get(path, [])])
    )


def _account(network: Network) -> tuple[FrozenReport, ...]:
    try:
        return frozen(trace(network, rules.rule_of).channels, Names(network))
    except Exception:  # noqa: BLE001 - then it is told nothing
        return ()


def _frozen(entries: Collection[FrozenReport]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for entry in entries:
        found[entry.reason] += entry.channels
    return dict(found.most_common(_REASONS))


def _silent(_: Progress) -> None:
    """The bench shows whole models only."""


ENGINES: Mapping[str, Callable[[Network], Cut]] = {"coppice": _coppice, "torch-pruning": _torch_pruning}
