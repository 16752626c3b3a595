"""What a package brings that adds a format: multilayer perceptrons as NumPy archives, `w0 b0 w1 b1 ...` in `.mlp`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coppice.errors import ReloadFailed, UnknownFormat
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Report
from coppice.records.request import Part, Request
from coppice.tracing.network import Layer, Network


def open_mlp(request: Request, files: Mapping[Part, Path]) -> Mlp:
    path = files[Part.MODEL]
    return Mlp(read(path), Path(request.files.get(Part.MODEL, path.name)).stem)


def read(path: Path) -> nn.Sequential:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        layers: list[nn.Module] = []
        for number in range(len(found) // 2):
            weight = found[f"w{number}"]
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": found[f"b{number}"]})
            layers += [layer, nn.ReLU()]
    except (OSError, ValueError, KeyError) as e:
        raise UnknownFormat(f"{path.name} is no .mlp: {e}", field=Part.MODEL) from e
    return nn.Sequential(*layers[:-1]).eval()


class Mlp:
    notes: tuple[str, ...] = ()
    latencies: None = None

    def __init__(self, module: nn.Sequential, stem: str) -> None:
        first = module[0]
        assert isinstance(first, nn.Linear)
        layers = tuple(Layer(name=f"w{path}", path=path, kind="Dense") for path, _ in module.named_children())
        self.stem = stem
        self.network = Network(module=module, inputs=(torch.randn(2, first.in_features),), layers=layers)

    def write(self, pruned: nn.Module, plan: Plan, report: Report, out: Path) -> tuple[Artifact, ...]:
        linear = [part for part in pruned.modules() if isinstance(part, nn.Linear)]
        weights = {f"w{number}": part.weight.detach().numpy() for number, part in enumerate(linear)}
        biases = {f"b{number}": part.bias.detach().numpy() for number, part in enumerate(linear)}
        artifact = Artifact(name="model", file=f"{self.stem}_pruned.mlp", media_type="application/octet-stream")
        with (out / artifact.file).open("wb") as file:
            np.savez(file, **weights, **biases)  # type: ignore[arg-type]  # numpy takes the arrays for allow_pickle
        return (artifact,)

    def reload(self, pruned: nn.Module, artifacts: tuple[Artifact, ...], out: Path) -> None:
        (written,) = (artifact for artifact in artifacts if artifact.name == "model")
        (inputs,) = self.network.inputs
        if not torch.allclose(read(out / written.file)(inputs), pruned(inputs)):
            raise ReloadFailed(f"{written.file} computes something else than what was cut.")

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        raise NotImplementedError
