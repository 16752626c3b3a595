"""What a job says, made fit to be shown: no control characters, no path of this machine, no stack of ours."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from coppice.sandbox.view import PACKAGE

#: Lines and characters of standard error that a message repeats; the end says what went wrong.
SHOWN_LINES, SHOWN_CHARACTERS = 12, 2000

#: Control characters, and halves of characters that no encoding takes.
UNPRINTABLE: Final = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")

#: A frame of a Python traceback, in a file of the job or in another.
_FRAME: Final = re.compile(r'\s*File "(in/)?')
_STACK: Final = "Traceback (most recent call last):"


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor or end a string early."""
    return UNPRINTABLE.sub("", text)


def quoted(text: str) -> str:
    """A foreign text for the log, where no line of it can pass for one of the service."""
    return "\n".join(f"  | {line}" for line in printable(text).splitlines())


def last_words(stderr: str, box: Path) -> str:
    """The end of standard error: the user's own frames, what was raised, what else was said."""
    # The longest first: the environment often lies below the folder that holds coppice.
    for folder in sorted((str(box), sys.prefix, sys.base_prefix, str(PACKAGE.parent)), key=len, reverse=True):
        stderr = stderr.replace(folder + os.sep, "").replace(folder, "")
    lines = [line for line in _without_our_stack(printable(stderr).splitlines()) if line.strip()]
    return "\n".join(lines[-SHOWN_LINES:])[-SHOWN_CHARACTERS:]


def _without_our_stack(lines: Iterable[str]) -> Iterator[str]:
    """All lines but those of frames outside the job's own files."""
    ours = False
    for line in lines:
        frame = _FRAME.match(line)
        # The code of a frame, and the marks under it, are indented by four.
        ours = frame[1] is None if frame else ours and line.startswith("    ")
        if not ours and line != _STACK:
            yield line
