"""The page of an error's code, for who meets it: where it comes from and what to do. And the page of all codes."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from coppice.errors import BY_CODE, CoppiceError
from coppice.errors.families import PAGES
from coppice.pages.render import environment
from coppice.version import __version__

_WORD = re.compile(r"`([^`]*)`")


def render_error(kind: type[CoppiceError]) -> str:
    """The page of one code, with those below it in the tree."""
    return _rendered(kind, tuple(one for one in BY_CODE.values() if issubclass(one, kind)))


def render_errors() -> str:
    """The page of all codes."""
    return _rendered(None, tuple(BY_CODE.values()))


def _rendered(kind: type[CoppiceError] | None, kinds: tuple[type[CoppiceError], ...]) -> str:
    return _ENVIRONMENT.get_template("error.html").render(kind=kind, kinds=kinds, pages=PAGES, version=__version__)


def _words(text: str) -> Markup:
    """Text of ours, in which words between backticks are code."""
    return Markup(_WORD.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just here


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


_ENVIRONMENT = environment()
_ENVIRONMENT.filters |= {"words": _words, "first_line": _first_line}
