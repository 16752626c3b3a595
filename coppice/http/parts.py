"""The file parts of the calls that take a model: one table that the reader and the Swagger page share.

Here: names, other names, suffixes, and under which name a file is kept. Not here: the bytes (`http.upload`); what is in
a file is nothing that this side ever looks at.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from coppice.errors import UnsupportedMediaType
from coppice.http.intake import Intake
from coppice.http.names import unknown_name
from coppice.records.advice import SHARDS
from coppice.records.frameworks import Framework
from coppice.records.plan import MAX_BYTES as MAX_PLAN_BYTES
from coppice.records.plugins import formats
from coppice.records.request import Part, Task
from coppice.storage import safe_name

#: Modules that a class file would hide from itself.
_TAKEN = sys.stdlib_module_names | {"torch", "torchvision", "numpy", "coppice"}
_PYTORCH = frozenset({Framework.PYTORCH})
_KERAS = frozenset({Framework.KERAS})
_ONNX = frozenset({Framework.ONNX})
#: Files of plain arrays, which every framework can write.
_ARRAYS = (".npz", ".npy", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    """One file part, by the name that the documents give it."""

    part: Part
    suffixes: tuple[str, ...]
    description: str
    example: str
    calls: frozenset[Framework]
    tasks: frozenset[Task] = frozenset(Task)
    aliases: tuple[str, ...] = ()
    required: bool = True
    #: The most that a service takes of it, whatever it takes of others.
    max_bytes: int | None = None
    #: Suffix of what people send by mistake -> what it is, and what to send.
    instead: Mapping[str, str] = field(default_factory=dict, hash=False)

    def required_by(self, intake: Intake) -> bool:
        """Whether the call can't do without, whatever model is sent."""
        return self.required and intake.frameworks <= self.calls


PARTS: tuple[UploadPart, ...] = (
    UploadPart(
        part=Part.MODEL,
        suffixes=(".h5", ".hdf5", ".zip", ".keras"),
        description="The Keras model: an `.h5` or `.keras` file, or a `.zip` of a SavedModel folder.",
        example="mnist_base.h5",
        calls=_KERAS,
        aliases=("file",),
    ),
    UploadPart(
        part=Part.MODEL,
        suffixes=(".onnx", ".zip", *formats()),
        description="The ONNX model: an `.onnx` file, or a `.zip` of one with its external data.",
        example="resnet18.onnx",
        calls=_ONNX,
        aliases=("file",),
    ),
    UploadPart(
        part=Part.WEIGHTS,
        suffixes=(".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar", ".safetensors"),
        description='The state dict: `torch.save(model.state_dict(), "mnist_cnn.pth")`, alone or in a checkpoint.',
        example="mnist_cnn.pth",
        calls=_PYTORCH,
        aliases=("file",),
        instead={".json": f"is an index of shards, which holds no tensors. {SHARDS}"},
    ),
    UploadPart(
        part=Part.CLASS_DEF,
        suffixes=(".py",),
        description="The Python file that defines the model's class, complete with its imports. Its name is the module "
        "that the pruned model refers to: keep it importable where you load the result.",
        example="model.py",
        calls=_PYTORCH,
    ),
    UploadPart(
        part=Part.DATASET,
        suffixes=(".pth", ".pt", ".pkl", *_ARRAYS),
        description='Sample data: `torch.save(train_loader, "train_loader.pth")`, or arrays as for the other calls. '
        "Optional. With it the kept weights are repaired, and the report says how good the model is.",
        example="train_loader.pth",
        calls=_PYTORCH,
        required=False,
    ),
    UploadPart(
        part=Part.DATASET,
        suffixes=_ARRAYS,
        description='Sample data: `numpy.savez("samples.npz", x=inputs, y=labels)`; labels may be missing. Optional. '
        "With it the kept weights are repaired, and the report says how good the model is.",
        example="samples.npz",
        calls=_KERAS | _ONNX,
        required=False,
    ),
    UploadPart(
        part=Part.PLAN,
        suffixes=(".json",),
        description="What to remove, in place of `percent`: the `plan` artifact of an earlier job on a model of the "
        "same architecture, as it is, or edited (`plan.without`, `plan.keeping`). Optional.",
        example="plan.json",
        calls=frozenset(Framework),
        tasks=frozenset({Task.PRUNE}),
        required=False,
        max_bytes=MAX_PLAN_BYTES,
    ),
)


def _names(part: UploadPart) -> tuple[str, ...]:
    return (part.part.value, *part.aliases)


#: Every name under which some call takes a file.
PART_NAMES = frozenset(name for part in PARTS for name in _names(part))


def parts_of(intake: Intake) -> tuple[UploadPart, ...]:
    """The file parts that a call takes."""
    return tuple(part for part in PARTS if intake.frameworks & part.calls and intake.task in part.tasks)


def part_names(intake: Intake) -> frozenset[str]:
    """Every name under which a call takes a file."""
    return frozenset(name for part in parts_of(intake) for name in _names(part))


def find_part(intake: Intake, name: str, given: str) -> UploadPart:
    """The part that a multipart name means, of several the one that takes the file's suffix.

    Raises ParameterInvalid with the nearest name.
    """
    meant = [part for part in parts_of(intake) if name in _names(part)]
    if not meant:
        known = dict.fromkeys(name for part in parts_of(intake) for name in _names(part))  # in the order of the table
        raise unknown_name(intake.call, name, "file part", known, PART_NAMES)
    suffix = PurePosixPath(given).suffix.lower()
    return next((part for part in meant if suffix in part.suffixes), meant[0])


def frameworks_of(intake: Intake, part: UploadPart, given: str) -> frozenset[Framework]:
    """Whose model a file can be by its part and suffix: a `.zip` may hold a SavedModel or an ONNX model."""
    suffix = PurePosixPath(given).suffix.lower()
    same = [one for one in parts_of(intake) if one.part is part.part and suffix in one.suffixes]
    return frozenset[Framework]().union(*(one.calls for one in same or [part]))


def file_name(part: UploadPart, given: str) -> str:
    """The name to keep a file under: safe, and the user's own where it matters.

    Raises UnsupportedMediaType for a suffix that the part doesn't take, and for a class file that can't be imported
    by its name.
    """
    # ASCII, since the names of results are made from it and go into headers.
    name = safe_name(given).encode("ascii", "replace").decode().replace("?", "_")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in part.instead:
        raise UnsupportedMediaType(f"{part.part}: {given!r} {part.instead[suffix]}", field=part.part)
    if suffix not in part.suffixes:
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} does not end in {_either(part.suffixes)}. {part.description.replace('`', '')}",
            field=part.part,
        )
    if part.part is Part.CLASS_DEF:
        _check_module(part, given, name)
    return name


def _check_module(part: UploadPart, given: str, name: str) -> None:
    module = name.removesuffix(PurePosixPath(name).suffix)
    # A pickle of the result names this module: what can't be imported by it can't be loaded either.
    if not (module.isidentifier() and name in given) or keyword.iskeyword(module):
        better = re.sub(r"\W", "_", module, flags=re.ASCII).strip("_") or "model"
        better = f"{better}_" if keyword.iskeyword(better) else better if better.isidentifier() else f"model_{better}"
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} can't be imported as a module. Rename it, e.g. to {better}.py.", field=part.part
        )
    if module in _TAKEN:
        raise UnsupportedMediaType(
            f"{part.part}: {given!r} would hide the module {module} that is installed. Rename it, e.g. to model.py.",
            field=part.part,
        )


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
