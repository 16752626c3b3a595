"""Where in the user's code something happened: the innermost line outside of torch and of Coppice."""

from __future__ import annotations

import linecache
import sys
from functools import lru_cache
from pathlib import Path
from types import FrameType

import torch

import coppice

#: Folders whose code is not the user's.
_OURS = tuple(f"{Path(home.__file__ or '').parent}/" for home in (torch, coppice))


def site(operator: str, path: str) -> str:
    """The operator, the module at work, and the user's line, in words."""
    where = f"{operator} at {path}" if path else operator
    line = user_line()
    return f"{where} ({line})" if line else where


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


_TRACER = str(Path(__file__).with_name("tracer.py"))
