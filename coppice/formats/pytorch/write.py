"""The files that a PyTorch user gets: pickled pair, state dict, weights as they came, class file as pruned, ONNX.

A file that this model can't have is left out with a reason. How the class file and the ONNX file are made is in
`class_def` and `onnx`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from coppice.formats.pytorch import stable_pickle
from coppice.formats.pytorch.class_def import NotDescribable, class_definition
from coppice.formats.pytorch.onnx import NotExportable, write_onnx
from coppice.formats.pytorch.rewrite import rewrite, state_as_it_came
from coppice.formats.pytorch.state_dict import Fitted
from coppice.formats.pytorch.user_errors import last_line
from coppice.formats.pytorch.user_module import UserClass
from coppice.formats.source import safe, stem_of
from coppice.records.plan import Plan
from coppice.records.report import Artifact, Report
from coppice.tracing.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What there is to write: the pruned model, also in the mode in which it goes to its user, and its origin."""

    pruned: nn.Module
    model: nn.Module
    network: Network
    user: UserClass
    plan: Plan
    report: Report
    fitted: Fitted


#: What is the same every time a model is pruned.
_COUNTED = {"parameters", "bytes", "macs", "activation_bytes"}


class LeftOut(Exception):
    """The model has no file of this kind; the message is the reason."""


class Lacking(Exception):
    """The file was written without some of what its model file held; the message says what."""


@dataclass(frozen=True, slots=True)
class Written:
    """The artifacts in the result folder, and why others are not there, by artifact name."""

    artifacts: tuple[Artifact, ...]
    left_out: dict[str, str]


def write(result: Result, out: Path) -> Written:
    """Write every artifact that the model can have; "model" is the pair, or the state dict where it does not pickle."""
    artifacts, left_out = [], {}
    for name, (file_name, media_type, writer) in WRITERS.items():
        if name == "weights" and result.fitted.is_plain:
            continue  # the state dict is that very file
        artifact = Artifact(name=name, file=file_name(result), media_type=media_type)
        try:
            writer(result, out / artifact.file)
        except Lacking as e:
            left_out[name] = str(e)
        except LeftOut as e:
            left_out[name] = str(e)
            (out / artifact.file).unlink(missing_ok=True)
            if name != "model":
                continue
            _state_dict(result, out / artifact.file)
        artifacts.append(artifact)
    return Written(tuple(artifacts), left_out)


def information(report: Report) -> dict[str, Any]:
    """The second of the pair: the report's main numbers, in types that need no code to load, and no measured times."""
    return {
        "coppice": report.coppice,
        "percent": report.request.percent,
        "omitted": list(report.request.omit),
        "before": report.before.model_dump(mode="json", include=_COUNTED),
        "after": report.after.model_dump(mode="json", include=_COUNTED),
        "verification": report.verification.model_dump(mode="json"),
        "groups": {group.name: {"channels": group.channels, "removed": group.removed} for group in report.groups},
        "summary": report.summary,
    }


def _pair(result: Result, path: Path) -> None:
    try:
        torch.save((result.model, information(result.report)), path, pickle_module=stable_pickle)
    except Exception as e:  # a lambda, a lock, a class made inside a function: whatever pickle says
        raise LeftOut(
            f"The model does not pickle ({last_line(e)}), so the .pt holds its state dict; the class file as pruned"
            f" builds the model for it."
        ) from e


def _state_dict(result: Result, path: Path) -> None:
    torch.save(state_as_it_came(result.model, result.fitted), path)


def _weights(result: Result, path: Path) -> None:
    dropped = rewrite(result.fitted, result.model, result.plan, path)
    if dropped:
        raise Lacking(f"The file weights leaves out {'; '.join(dropped)}.")


def _class_def(result: Result, path: Path) -> None:
    try:
        path.write_bytes(class_definition(result.user, result.network.module, result.model, result.plan))
    except NotDescribable as e:
        raise LeftOut(f"No class file as pruned: {e}.") from e


def _onnx(result: Result, path: Path) -> None:
    try:
        write_onnx(result.pruned, result.network, path)
    except NotExportable as e:
        raise LeftOut(f"No ONNX file: {e}") from e


def _named(ending: str) -> Callable[[Result], str]:
    return lambda result: f"{stem_of(result.fitted.weights.file)}_pruned{ending}"


def _class_file(result: Result) -> str:
    # A name that `import` takes, and not that of the user's file: both may lie in one folder.
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', result.user.module.__name__)[:80]}_pruned.py"


def _weights_file(result: Result) -> str:
    suffix = PurePath(result.fitted.weights.file).suffix
    return _named(f"_weights{safe(suffix) if suffix else '.pth'}")(result)


#: Artifact -> (file name, media type, writer), in the order in which they are listed; the first is the default.
WRITERS: dict[str, tuple[Callable[[Result], str], str, Callable[[Result, Path], None]]] = {
    "model": (_named(".pt"), "application/octet-stream", _pair),
    "state_dict": (_named("_state_dict.pth"), "application/octet-stream", _state_dict),
    "weights": (_weights_file, "application/octet-stream", _weights),
    "class_def": (_class_file, "text/x-python", _class_def),
    "onnx": (_named(".onnx"), "application/octet-stream", _onnx),
}
