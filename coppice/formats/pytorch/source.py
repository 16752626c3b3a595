"""An upload of a PyTorch user: state dict, class file, and perhaps a sample DataLoader; and the way back.

The reading and the writing of each file are in the modules beside this one; here they are put in order.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from coppice.errors import ParameterMissing, ReloadFailed
from coppice.formats.pytorch import write as torch_write
from coppice.formats.pytorch.example_inputs import inputs_from_size, read_sample
from coppice.formats.pytorch.named_inputs import forget_names
from coppice.formats.pytorch.onnx import exported, write_onnx
from coppice.formats.pytorch.reload import reload_torch
from coppice.formats.pytorch.state_dict import Fitted, fit
from coppice.formats.pytorch.user_module import UserClass, build_model, load_class
from coppice.formats.pytorch.weights import read_weights
from coppice.formats.source import stem_of
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Report
from coppice.records.request import Part, Request
from coppice.tracing.network import Layer, Network

#: Artifacts that a clean process loads; ONNX was run by its own runtime when it was written.
_RELOADED = ("model", "state_dict", "weights", "class_def")


def open_torch(request: Request, files: Mapping[Part, Path]) -> TorchSource:
    """Build the user's model, load the weights into it, and run it once on its example input."""
    if request.model_name is None:
        raise ParameterMissing("model_name is missing: the class to build, for example Net.", field="model_name")
    if Part.CLASS_DEF not in files:
        raise ParameterMissing(
            "The part class_def is missing: the Python file that defines the model's class.", field=Part.CLASS_DEF
        )
    names = {part: request.files.get(part, path.name) for part, path in files.items()}
    weights = read_weights(files[Part.WEIGHTS], file=names[Part.WEIGHTS])
    user = load_class(
        files[Part.CLASS_DEF], file=names[Part.CLASS_DEF], name=request.model_name, arguments=request.model_args
    )
    module = build_model(user, seed=request.seed)
    fitted = fit(module, weights)
    training = {path: part.training for path, part in module.named_modules()}
    module.eval()
    notes = [*fitted.notes, *_renamed(user, names[Part.CLASS_DEF])]
    if Part.DATASET in files:
        read = read_sample(module, request, user, files[Part.DATASET])
    else:
        read = inputs_from_size(module, request, user)
    inputs = read.inputs
    layers = tuple(
        Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
    )
    # A number that comes as itself, not one for each sample, has no first row.
    plain = all(entry.dim() for entry in inputs)
    single = None if plain else tuple(entry[:1] if entry.dim() else entry for entry in inputs)
    network = Network(
        module=module, inputs=inputs, layers=layers, notes=(*notes, *read.notes), single=single, samples=read.samples
    )
    return TorchSource(network, request, user, fitted, training)


class TorchSource:
    """The user's model built and loaded, in evaluation mode."""

    def __init__(
        self, network: Network, request: Request, user: UserClass, fitted: Fitted, training: Mapping[str, bool]
    ) -> None:
        self.network = network
        self._request = request
        self._user = user
        self._fitted = fitted
        self._training = training
        self._left_out: dict[str, str] = {}

    @property
    def latencies(self) -> None:
        """Measured in torch, with everything else."""

    @property
    def user(self) -> UserClass:
        """The user's class, with the arguments that the model was built with."""
        return self._user

    @property
    def stem(self) -> str:
        """That of the file of weights."""
        return stem_of(self._fitted.weights.file)

    @property
    def seed(self) -> int:
        """That of the request."""
        return self._request.seed

    @property
    def notes(self) -> tuple[str, ...]:
        """Which artifacts the model can't have, and why."""
        return tuple(self._left_out.values())

    def write(self, pruned: nn.Module, plan: Plan, report: Report, out: Path) -> tuple[Artifact, ...]:
        """Write the pickled pair, the state dict, the weights as they came, the class file as pruned and ONNX."""
        result = torch_write.Result(
            pruned=pruned,
            model=self._as_built(pruned),
            network=self.network,
            user=self._user,
            plan=plan,
            report=report,
            fitted=self._fitted,
        )
        written = torch_write.write(result, out)
        self._left_out = written.left_out
        if {"model", "class_def"} <= written.left_out.keys():
            raise ReloadFailed(f"Nothing could load the pruned weights. {' '.join(self.notes)}")
        return written.artifacts

    def reload(self, pruned: nn.Module, artifacts: tuple[Artifact, ...], out: Path) -> None:
        """Load pair, state dict and class file in a process that has torch and the user's file alone."""
        files = {artifact.name: out / artifact.file for artifact in artifacts if artifact.name in _RELOADED}
        if "model" in self._left_out:  # then that file holds the state dict
            del files["model"]
        reload_torch(pruned, self.network, self._user, self._fitted, files, seed=self._request.seed)

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        """Through torch's exporter."""
        exported(write_onnx, module, self.network, path)

    def _as_built(self, pruned: nn.Module) -> nn.Module:
        """A copy in the mode that the constructor left the model in: it goes back into the user's training loop."""
        model = copy.deepcopy(pruned)
        forget_names(model)
        for path, part in model.named_modules():
            part.training = self._training[path]
        return model


def _renamed(user: UserClass, file: str) -> tuple[str, ...]:
    name = user.module.__name__
    if name == file.removesuffix(".py"):
        return ()
    return (
        f"Python can't import {file}: the model refers to its class as {name}.{user.name}; name the file {name}.py.",
    )
