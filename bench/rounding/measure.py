"""One measurement: a trained network quantized by the step that every job runs, and what its test images say of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from bench.accuracy import nets
from bench.accuracy.data import Data
from bench.accuracy.nets import Entry
from bench.accuracy.training import accuracy, trained
from coppice.quant import GRIDS, Grid
from coppice.records.frameworks import Framework
from coppice.records.quantization import Activations, Precision, Rounding
from coppice.records.request import Request, Task
from coppice.steps.quality import Judge
from coppice.steps.quantize import quantize
from coppice.steps.restore import usable
from coppice.tracing import Layer, Network
from coppice.tracing.samples import HELD_OUT, Samples

#: Images without labels that are calibrated on.
CALIBRATION = 256
#: And with those that a job holds out.
SENT = round(CALIBRATION / (1 - HELD_OUT))


def small() -> nn.Module:
    """A network of some 47,000 parameters."""
    layers: list[nn.Module] = []
    for into, out in ((1, 16), (16, 32), (32, 48)):
        conv = nn.Conv2d(into, out, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(432, 64), nn.ReLU(), nn.Linear(64, 10))


NETS: Mapping[str, Entry] = {
    "small": Entry(title="small CNN", build=small, epochs={"digits": 12}),
    **{name: nets.NETS[name] for name in ("net", "keras", "mobile", "resnet", "vit")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How weights are rounded: what is asked of the step, and whether it gets samples."""

    request: Mapping[str, Any]
    samples: bool = True
    bits: tuple[int, ...] = (8, 4, 2, 1)
    grids: Mapping[int, Grid] = field(default_factory=dict)  # in place of ours


WAYS: Mapping[str, Way] = {
    "no samples, no edges": Way(request={"rounding": Rounding.NEAREST, "layers": "all"}, samples=False),
    "no samples": Way(request={"rounding": Rounding.NEAREST}, samples=False, bits=(4, 2, 1)),
    "nearest": Way(request={"rounding": Rounding.NEAREST}),
    "clipped": Way(request={"rounding": Rounding.CLIPPED}),
    "gptq": Way(request={"rounding": Rounding.GPTQ}),
    "adaround": Way(request={"rounding": Rounding.ADAROUND}, bits=(4, 2, 1)),
    "gptq, ternary": Way(request={"rounding": Rounding.GPTQ}, bits=(2,), grids={2: Grid(bits=2, largest=1, step=1)}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured."""

    data: str
    net: str
    seed: int
    bits: int
    way: str

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """What names its row."""
        return self.data, self.net, self.seed, self.bits, self.way


def row(case: Case, images: Data, cache: Path) -> dict[str, Any]:
    """The line of a case."""
    module, way = trained(NETS[case.net], images, case.seed, cache), WAYS[case.way]
    samples = Samples(inputs=(images.train.drawn(SENT, case.seed).x,)) if way.samples else None
    network = Network(
        module=module,
        inputs=(images.train.x[:2],),
        layers=tuple(
            Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
        ),
        samples=samples,
    )
    started = time.process_time()
    network, basis = usable(network)
    with torch.no_grad(), _instead(way):
        outcome = quantize(network, module, _request(network, case, way), basis)
    seconds = time.process_time() - started
    parameters = sum(layer.parameters for layer in outcome.layers)
    bits = sum(layer.parameters * layer.precision.bits for layer in outcome.layers)
    judge = Judge(network, Samples(inputs=(images.test.x,)))
    return {
        "data": case.data,
        "net": case.net,
        "seed": case.seed,
        "bits": case.bits,
        "way": case.way,
        "dense": accuracy(module, images.test),
        "accuracy": accuracy(outcome.model.module, images.test),
        "snr_db": judge.snr(module, outcome.model.module),
        "bits_per_weight": bits / parameters,
        "seconds": round(seconds, 2),
    }


def _request(network: Network, case: Case, way: Way) -> Request:
    precision = Precision(f"int{case.bits}")
    asked = dict(way.request)
    if asked.get("layers") == "all":
        asked["layers"] = {"*": precision}
    asked |= {"framework": Framework.PYTORCH, "task": Task.QUANTIZE, "activations": Activations.FLOAT32}
    asked |= {"weights": precision, "input_size": list(network.inputs[0].shape[1:])}
    return Request.model_validate(asked)


def _instead(way: Way) -> AbstractContextManager[Any]:
    return patch.dict(GRIDS, way.grids) if way.grids else nullcontext()
