"""One bad upload, what must come of it, the service that it goes to, and the small model that it starts from."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from coppice.settings import MIB, Settings
from tests.serving import Files

#: Limits small enough that the jobs which run into one do so soon, large enough for an ordinary job on a busy machine.
SETTINGS = Settings(
    port=0,
    workers=2,
    job_seconds=90,
    job_cpu_seconds=15,
    job_memory_bytes=3072 * MIB,
    job_output_bytes=64 * MIB,
    job_processes=48,
)

MODEL = """\
import torch
from torch import nn
{top}

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.head = nn.Linear(6, 3)
{constructor}

    def forward(self, x):
{forward}
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))
"""


def source(*, top: str = "", constructor: str = "", forward: str = "") -> bytes:
    """A class file with code of the user's in one of the three places where it runs."""
    at = {
        "top": top,
        "constructor": textwrap.indent(constructor, " " * 8),
        "forward": textwrap.indent(forward, " " * 8),
    }
    return MODEL.format(**at).encode()


@cache
def weights() -> bytes:
    """The state dict that fits the class."""
    numbers = torch.Generator().manual_seed(5)
    shapes = {"conv.weight": (6, 1, 3, 3), "conv.bias": (6,), "head.weight": (3, 6), "head.bias": (3,)}
    return saved({name: torch.rand(shape, generator=numbers) for name, shape in shapes.items()})


def saved(value: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def pytorch(**changed: bytes) -> Files:
    """The parts of a good PyTorch upload, some with other bytes."""
    parts = {"weights": weights(), "class_def": source(), **changed}
    names = {"weights": "small.pth", "class_def": "small.py", "dataset": "train_loader.pth"}
    return {part: (names[part], content) for part, content in parts.items()}


def running(*, top: str = "", constructor: str = "", forward: str = "") -> Callable[[], Files]:
    """An upload whose class file runs this code."""
    return lambda: pytorch(class_def=source(top=top, constructor=constructor, forward=forward))


QUERY = {"percent": "0.5", "input_size": "1,8,8", "model_name": "Small"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call, and how it must end: refused at once with an HTTP status, or accepted and failed with status -1."""

    code: str
    says: tuple[str, ...]
    http: int | None = None
    call: str = "pt_prune"
    query: Mapping[str, str] = field(default_factory=lambda: QUERY)
    files: Callable[[], Files] = pytorch


@dataclass(frozen=True, kw_only=True)
class End:
    """How a call ended, at once or as a job."""

    http: int
    status: int | None
    code: str | None
    message: str


def asked(**changed: str | None) -> dict[str, str]:
    """The query of a good call with other values; None leaves one out."""
    return {name: value for name, value in {**QUERY, **changed}.items() if value is not None}
