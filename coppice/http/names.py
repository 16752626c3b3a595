"""The refusal of a name that a call doesn't have: what was meant, as far as that can be told."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from coppice.errors import ParameterInvalid

#: A name is shown only so far: it is the caller's text, of any length.
_SHOWN = 100


def unknown_name(
    call: str, name: str, kind: str, known: Collection[str], elsewhere: Collection[str] = ()
) -> ParameterInvalid:
    """The error for a `kind` called `name`; `elsewhere` are names that mean something, but not here."""
    shown = repr(name[:_SHOWN])
    if name in elsewhere:
        why = f"{call} takes no {shown} as a {kind}."
    else:
        close = difflib.get_close_matches(name[:_SHOWN], known, n=1)
        why = f"{shown} is no {kind} of {call}." + (f" Did you mean {close[0]}?" if close else "")
    return ParameterInvalid(f"{why} It takes {', '.join(known)}.", field=name[:_SHOWN])
