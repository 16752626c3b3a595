"""The engines of the benchmark, each called as its README shows: our defaults, and three criteria of Torch-Pruning."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

import coppice
from bench.accuracy.data import Images
from bench.accuracy.nets import Attention, Entry
from coppice.errors import CoppiceError
from coppice.steps.apply import copied
from coppice.steps.macs import count_macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What an engine makes of a network."""

    plain: nn.Module  # channels removed, nothing else
    restored: nn.Module | None  # what it gives back, where that is more
    chosen: str | None  # which repair it says it chose
    seconds: float  # of the processor, everything that the engine does by default


def _uniform(entry: Entry, dense: nn.Module, ratio: float, samples: Images) -> Cut:
    return _coppice(entry, dense, samples, percent=ratio)


def _global(entry: Entry, dense: nn.Module, ratio: float, samples: Images) -> Cut | None:
    """As many multiply-accumulates as the uniform cut leaves, spread over the groups by score."""
    example = (samples.x[:1],)
    uniform = coppice.prune(dense, percent=ratio, omit=entry.omit, example_inputs=example).model
    percent = 1 - count_macs(uniform, example) / count_macs(dense, example)
    try:
        return _coppice(entry, dense, samples, percent=percent, spread="global", target="macs")
    except CoppiceError as e:
        print(f"  {e.code}: {e.message[:200]}")
        return None


def _coppice(entry: Entry, dense: nn.Module, samples: Images, **asked: object) -> Cut:
    given = {"omit": entry.omit, "example_inputs": (samples.x[:1],), "samples": (samples.x, samples.y), **asked}
    start = time.process_time()
    found = coppice.prune(dense, **given)
    seconds = time.process_time() - start
    candidates = found.report.quality.candidates
    return Cut(
        plain=coppice.prune(dense, **given, restore=False).model,
        restored=found.model,
        chosen=next((candidate.method for candidate in candidates if candidate.chosen), None),
        seconds=seconds,
    )


def _torch_pruning(criterion: str) -> Callable[[Entry, nn.Module, float, Images], Cut]:
    def cut(entry: Entry, dense: nn.Module, ratio: float, samples: Images) -> Cut:
        import torch_pruning

        model = copied(dense)
        model.requires_grad_(True)
        importance = torch_pruning.importance
        start = time.process_time()
        if criterion == "taylor":
            F.cross_entropy(model(samples.x), samples.y).backward()
            chosen = importance.GroupTaylorImportance()
        else:
            chosen = importance.GroupMagnitudeImportance(p=int(criterion[1:]))
        torch_pruning.pruner.BasePruner(
            model,
            samples.x[:1],
            importance=chosen,
            pruning_ratio=ratio,
            ignored_layers=_kept_whole(model, entry),
            num_heads={part.qkv: part.heads for part in model.modules() if isinstance(part, Attention)},
        ).step()
        seconds = time.process_time() - start
        model.zero_grad()
        return Cut(plain=model.eval(), restored=None, chosen=None, seconds=seconds)

    return cut


def _kept_whole(model: nn.Module, entry: Entry) -> list[nn.Module]:
    """What it has to be told, and ours finds out: the layer of the output, which in these networks is the last."""
    output = [part for part in model.modules() if isinstance(part, nn.Linear)][-1]
    return [output, *(model.get_submodule(name) for name in entry.omit)]


#: Name in the results -> how a network is cut; None where the engine says that it can't.
ENGINES: Mapping[str, Callable[[Entry, nn.Module, float, Images], Cut | None]] = {
    "coppice": _uniform,
    "coppice global": _global,
    "torch-pruning l1": _torch_pruning("l1"),
    "torch-pruning l2": _torch_pruning("l2"),
    "torch-pruning taylor": _torch_pruning("taylor"),
}
