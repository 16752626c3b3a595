"""Only the leaves of the tree of errors are raised: a family says too little of what happened."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import coppice
from coppice import errors
from coppice.errors import BY_CODE, CoppiceError, InternalError

_SOURCES = Path(coppice.__file__).parent

#: The only class with children that may be made: what nobody expected has no name of its own.
_MAY_BE_MADE = {InternalError.__name__}


def test_no_family_is_made_anywhere() -> None:
    families = {kind.__name__ for kind in BY_CODE.values() if kind.__subclasses__()} - _MAY_BE_MADE
    assert {"BadRequest", "BadUpload", "Refused", "ShareExceeded"} <= families
    assert [f"{path}:{line} {name}" for path, line, name in _made() if name in families] == []


def test_every_leaf_is_used_somewhere() -> None:
    """A class that nothing raises is a promise of a page that nobody can ever meet."""
    leaves = {kind.__name__ for kind in BY_CODE.values() if not kind.__subclasses__()}
    assert leaves - _named() == set()


def test_the_package_gives_out_every_class() -> None:
    assert {kind.__name__ for kind in BY_CODE.values()} <= set(errors.__all__)


def _made() -> Iterator[tuple[Path, int, str]]:
    """Each `Kind(...)` of a class of the tree, and each `raise Kind`."""
    for path, tree in _trees():
        ours = _imported(tree)
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            if name in ours:
                yield path.relative_to(_SOURCES), getattr(node, "lineno", 0), name


def _named() -> set[str]:
    """The names that files outside the tree's own package import from it and use."""
    found = set[str]()
    for _, tree in _trees():
        found |= _imported(tree) & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found


def _imported(tree: ast.Module) -> set[str]:
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coppice.errors")
        for alias in node.names
        if isinstance(getattr(errors, alias.name, None), type) and issubclass(getattr(errors, alias.name), CoppiceError)
    }


@cache
def _trees() -> tuple[tuple[Path, ast.Module], ...]:
    files = (path for path in sorted(_SOURCES.rglob("*.py")) if _SOURCES / "errors" not in path.parents)
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in files)
