"""How long something lasts, as people write it: `90d`, `12h`, `30m`, `45s`."""

from __future__ import annotations

import re
from datetime import timedelta

from coppice.errors import ParameterInvalid

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
#: A hundred years: longer is a slip, and would run past the last year that a date can have.
_LONGEST = timedelta(days=36_500)


def duration(given: str, option: str) -> timedelta:
    """Read a duration; raises ParameterInvalid that names the option."""
    match = re.fullmatch(r"([0-9]{1,8})([dhms])", given.strip())
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if found is None or found > _LONGEST:
        raise ParameterInvalid(f"{option} {given!r} is no duration. Write 90d, 12h, 30m or 45s.", field=option)
    return found
