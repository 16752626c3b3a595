"""One line of the results: a network of a seed, cut by an engine, measured from every start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.accuracy import data
from bench.accuracy.data import SAMPLES, Data
from bench.accuracy.engines import ENGINES, Cut
from bench.accuracy.nets import NETS
from bench.accuracy.training import accuracy, normed_again, retrained, trained
from coppice.steps.macs import count_macs

Row = dict[str, Any]


def rows(
    net: str, images_name: str, seed: int, ratio: float, engines: list[str], cache: Path, mnist: Path | None
) -> list[Row]:
    """The lines of the engines, on the same network and the same samples."""
    torch.set_num_threads(1)
    images = data.opened(images_name, mnist)
    assert images is not None
    dense = trained(NETS[net], images, seed, cache)
    before = accuracy(dense, images.test)
    samples = images.train.drawn(SAMPLES, seed)
    found = []
    for engine in engines:
        torch.manual_seed(seed)
        cut = ENGINES[engine](NETS[net], dense, ratio, samples)
        named = {"data": images_name, "net": net, "seed": seed, "engine": engine, "ratio": ratio}
        if cut is not None:
            found.append({**named, "dense": before, **_measured(cut, dense, images, samples.x, seed)})
    return found


def _measured(cut: Cut, dense: nn.Module, images: Data, samples: torch.Tensor, seed: int) -> Row:
    starts = {"cut": cut.plain, "bn": normed_again(cut.plain, samples), "restored": cut.restored}
    sample = (samples[:1],)
    return {
        "macs": count_macs(cut.plain, sample) / count_macs(dense, sample),
        "parameters": _parameters(cut.plain) / _parameters(dense),
        "seconds": round(cut.seconds, 2),
        "chosen": cut.chosen,
        # Accuracy at once, after 40 steps, after an epoch.
        "curves": {
            start: [round(value, 5) for value in (accuracy(model, images.test), *retrained(model, images, seed))]
            for start, model in starts.items()
            if model is not None
        },
    }


def _parameters(model: nn.Module) -> int:
    return sum(entry.numel() for entry in model.parameters())
