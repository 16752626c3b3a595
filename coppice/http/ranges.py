"""Which part of a file a call asks for, and whether the caller has it already: RFC 9110, sections 13 and 14.

Starlette reads ranges for files on a disk only, and answers 400 to what the RFC says to ignore.

>>> wanted("bytes=10-", 100), wanted("bytes=-10", 100), wanted("bytes=0-4,8-", 100)
(range(10, 100), range(90, 100), None)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from coppice.errors import RangeImpossible

_ONE = re.compile(r"bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*", re.ASCII)


def wanted(header: str, size: int) -> range | None:
    """The bytes that a `Range` asks for; None is the whole file, as for several ranges and for what is none.

    Raises RangeImpossible for one that lies behind the end.
    """
    found = _ONE.fullmatch(header)
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeImpossible(f"There is no range {header[6:60]}: the file has {size:,} bytes.", field="Range")
    return range(start, end)


def holds(asked: Mapping[str, str], tag: str, modified: str) -> bool:
    """Whether the part that a caller has is of this very file: its `If-Range`, which may be left out."""
    return asked.get("if-range", tag) in (tag, modified)


def has_all(asked: Mapping[str, str], tag: str, modified: str) -> bool:
    """Whether the caller has the file as it is: `If-None-Match`, or where that is not given `If-Modified-Since`."""
    tags = asked.get("if-none-match")
    if tags is None:
        return asked.get("if-modified-since") == modified
    return tags.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in tags.split(","))
