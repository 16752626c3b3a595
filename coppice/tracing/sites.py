"""Where in the user's code something happened: the innermost line outside of torch and of Coppice."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

import coppice

#: Folders whose code is not the user's.
_OURS = tuple(f"{Path(home.__file__ or '').parent}/" for home in (torch, coppice))


@runtime_checkable
class FromFile(Protocol):
    """A layer that was read from a file of another framework: its user knows it by what that file says."""

    def called(self) -> str:
        """Its operator, its name, and the user's line where the file has it, in words."""


@dataclass(frozen=True, slots=True)
class Place:
    """A module at work: its path in the model, or what a file calls it."""

    path: str
    called: str = ""


def place(module: nn.Module, path: str, around: Sequence[Place]) -> Place:
    """The place of a module within those at work; a part of a layer from a file is that layer."""
    if isinstance(module, FromFile):
        return Place(path, module.called())
    return Place(path, around[-1].called if around else "")


def site(operator: str, at_work: Sequence[Place]) -> str:
    """The operator, the innermost module at work, and the user's line, in words."""
    innermost = at_work[-1] if at_work else Place("")
    if innermost.called:
        return innermost.called
    line = user_line()
    return f"{operator} at {innermost.path or 'the model'}" + (f" ({line})" if line else "")


def user_line() -> str:
    """File, line, function and text of the user's line that is being run; empty where all of it is ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        if (frame.f_code.co_name, frame.f_code.co_filename) == ("forward", _TRACER):
            return ""  # beyond this, it is whoever asked for the trace
        frame = frame.f_back
    return "" if frame is None else _line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


@lru_cache(maxsize=4096)
def _line(file: str, number: int, function: str) -> str:
    text = linecache.getline(file, number).strip()
    return f"{Path(file).name}, line {number}, in {function}" + (f": {text}" if text else "")


def spelled(value: int) -> str:
    """How the user's line that is being run comes by a number that no module holds."""
    frame = _user_frame()
    if frame is None or _writes(frame, value):
        return f"a hard-coded {value}"
    for kind, names in (("variable", frame.f_locals), ("global", frame.f_globals)):
        if (name := _named(frame, names, value)) is not None:
            return f"the {kind} {name} = {value}, which can't be set (an attribute of the model, or a shape, could)"
    return f"the number {value}, which can't be traced back to an attribute or a shape"


def function() -> CodeType | None:
    """The user's function that is being run."""
    frame = _user_frame()
    return frame and frame.f_code


def computes(value: int) -> bool:
    """Whether the user's line neither writes the number out nor takes it from a global."""
    frame = _user_frame()
    return frame is not None and not _writes(frame, value) and _named(frame, frame.f_globals, value) is None


def _text(frame: FrameType) -> str:
    """The line, without strings and comments."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", linecache.getline(frame.f_code.co_filename, frame.f_lineno))


def _writes(frame: FrameType, value: int) -> bool:
    return re.search(rf"(?<![\w.]){value}(?![\w.])", _text(frame)) is not None


def _named(frame: FrameType, names: Mapping[str, Any], value: int) -> str | None:
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*", _text(frame))
    return next((name for name in words if type(names.get(name)) is int and names[name] == value), None)


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        if (frame.f_code.co_name, frame.f_code.co_filename) == ("forward", _TRACER):
            return None  # beyond this, it is whoever asked for the trace
        frame = frame.f_back
    return frame


_TRACER = str(Path(__file__).with_name("tracer.py"))
