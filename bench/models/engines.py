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
from bench.models.oracle import checked
from bench.models.widths import removed, widths
from coppice import pipeline, rules
from coppice.errors import CoppiceError
from coppice.records.frameworks import Framework
from coppice.records.report import Check, FrozenReport, Progress
from coppice.records.request import Request
from coppice.steps.account import Names, frozen
from coppice.steps.apply import copied
from coppice.steps.macs import count_macs
from coppice.tracing import Layer, Network, trace

RATIO = 0.5
_OUTPUT = "output of the model"
#: Numbers of a tensor that may be a scale or a bias.
_FEW = 4096
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
    network = drawn(entry)
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


def drawn(entry: Entry) -> Network:
    """The model with numbers that are all but unique, so that each tells where it was."""
    module, inputs = entry.build().eval(), entry.inputs()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            # Biases, norms and their statistics start as constants, in which an error could hide; so do other tensors.
            learnt = isinstance(tensor, nn.Parameter) or name.endswith(("running_mean", "running_var"))
            if learnt and tensor.is_floating_point():
                tensor += (0.3 if tensor.numel() <= _FEW else 0.001) * torch.rand(tensor.shape).to(tensor)
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
    return Cut(model=model, outputs=outputs, seconds=seconds, told=checked(network, model))


def _failed(error: Exception) -> dict[str, Any]:
    return {"outcome": "crashed", "why": f"{type(error).__name__}: {error}"[:500]}


def _outputs(module: nn.Module, entries: Collection[FrozenReport]) -> frozenset[str]:
    """The layers whose own channels leave the model, under every name of a weight that several share."""
    made = {(layer, entry.channels) for entry in entries if entry.reason.startswith(_OUTPUT) for layer in entry.layers}
    sharing: dict[int, list[str]] = defaultdict(list)
    for name, tensor in module.named_parameters(remove_duplicate=False):
        sharing[id(tensor)].append(name.rpartition(".")[0])
    same: dict[str, list[str]] = defaultdict(list)  # a layer may share its weight with one and its bias with another
    for paths in sharing.values():
        for path in paths:
            same[path] += paths
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
