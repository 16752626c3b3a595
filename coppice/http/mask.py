"""The `X-Fields` header: a fields mask as Flask-RESTX documents it.

>>> parse("{txid}").apply({"txid": "7d2c", "message": "ok"})
{'txid': '7d2c'}
>>> parse("progress{step},*").apply({"status": 2, "progress": {"step": "trace", "fraction": 0.3}})
{'status': 2, 'progress': {'step': 'trace'}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from coppice.errors import FieldsMaskInvalid

_TOKEN = re.compile(r"\s*(?:(?P<name>[\w:*-]+)|(?P<mark>[{},]))\s*")
#: Deeper than any answer; a bound because the reader calls itself.
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Mask:
    """Names to keep, each with the mask of what is inside it; `*` keeps the rest."""

    fields: Mapping[str, Mask | None] = field(default_factory=lambda: {"*": None})

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with the named fields only. A name that the body doesn't have is left out, as Flask-RESTX does."""
        return {
            name: _inside(self.fields.get(name), value)
            for name, value in body.items()
            if name in self.fields or "*" in self.fields
        }


def parse(text: str | None) -> Mask:
    """Read a mask; raises FieldsMaskInvalid that says where it stops making sense. No text keeps everything."""
    if text is None or not text.strip():
        return Mask()
    reader = _Reader(text, list(_tokens(text)))
    # The outer braces may be left out: `txid,message` is `{txid,message}`.
    mask = reader.braces(depth=0) if reader.seen() == "{" else reader.items(depth=0)
    if reader.seen():
        reader.stop("a comma is missing, or a brace is one too many")
    return mask


def _inside(mask: Mask | None, value: Any) -> Any:
    if mask is None:
        return value
    if isinstance(value, list):
        return [_inside(mask, one) for one in value]
    return mask.apply(value) if isinstance(value, Mapping) else value


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse(text, position, "only names, commas, braces and * are part of a mask")
        kind = match.lastgroup or ""
        yield match.start(kind), match[kind]
        position = match.end()


class _Reader:
    """Recursive descent over the tokens: `{` item `,` item ... `}`, where an item is a name and may have braces."""

    def __init__(self, text: str, tokens: list[tuple[int, str]]) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0

    def braces(self, *, depth: int) -> Mask:
        if depth > _MAX_DEPTH:
            self.stop(f"braces go deeper than {_MAX_DEPTH}")
        self._step()
        mask = self.items(depth=depth)
        if self.seen() != "}":
            self.stop("a comma or a closing brace is missing")
        self._step()
        return mask

    def items(self, *, depth: int) -> Mask:
        fields: dict[str, Mask | None] = {}
        while True:
            if self.seen() in ("", "{", "}", ","):
                self.stop("a field name is missing")
            name = self._step()
            fields[name] = self.braces(depth=depth + 1) if self.seen() == "{" else None
            if self.seen() != ",":
                return Mask(fields)
            self._step()

    def seen(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def stop(self, why: str) -> NoReturn:
        position = self._tokens[self._next][0] if self.seen() else len(self._text)
        _refuse(self._text, position, why)

    def _step(self) -> str:
        token = self._tokens[self._next][1]
        self._next += 1
        return token


def _refuse(text: str, position: int, why: str) -> NoReturn:
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    raise FieldsMaskInvalid(
        f"X-Fields: {shown!r} does not parse at character {position + 1}: {why}. Write it as txid,message.",
        field="X-Fields",
    )
