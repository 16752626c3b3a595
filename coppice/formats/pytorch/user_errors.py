"""Failures of the user's own code, told in the user's terms: file, line, code, message, and no path of ours.

Here is how an exception is shown and which exceptions are no fault of the user's code; which error class it becomes
is said where it is caught.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path

_COPPICE = Path(__file__).parents[2]

#: Deeper stacks of user code say nothing more.
MAX_FRAMES = 4
#: A message is for a person; some libraries put a whole tensor or a C++ stack in theirs.
MAX_MESSAGE = 1500

#: torch reports a failed allocation as a RuntimeError of its CPU allocator.
_ALLOCATION = re.compile(r"can't allocate memory|not enough memory|DefaultCPUAllocator|Cannot allocate memory")
#: A folder part of an absolute path: the file's own name is kept.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\":,()]+/)+")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: never to be taken for a fault of the model's code."""
    return isinstance(error, MemoryError) or (
        isinstance(error, (RuntimeError, OSError)) and _ALLOCATION.search(str(error)) is not None
    )


def last_line(error: BaseException) -> str:
    """`RuntimeError: what it says`, bounded, paths trimmed to file names."""
    text = trimmed(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def trimmed(text: str) -> str:
    """A foreign text, bounded, paths trimmed to file names."""
    bare = _FOLDERS.sub("", text).strip()
    return bare if len(bare) <= MAX_MESSAGE else f"{bare[:MAX_MESSAGE]} ..."


def user_frames(error: BaseException, file: Path) -> list[str]:
    """The frames of the traceback that lie in the user's `file`, the innermost last, one line each."""
    return [
        f"{file.name}, line {frame.lineno}, in {frame.name}: {frame.line or ''}".rstrip(" :")
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ][-MAX_FRAMES:]


def is_users_fault(error: BaseException, file: Path) -> bool:
    """Whether the user's `file` is in the traceback, and no code of ours below it: rules run inside their forward."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    below = files[len(files) - files[::-1].index(str(file)) :] if str(file) in files else None
    return below is not None and not any(Path(name).is_relative_to(_COPPICE) for name in below)


def user_traceback(error: BaseException, file: Path) -> str:
    """The last lines of the traceback: the user's own frames, then the exception."""
    return "\n".join([*(f"  {line}" for line in user_frames(error, file)), f"  {last_line(error)}"])
