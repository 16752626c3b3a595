"""Nested lists, tuples and dicts, as Keras passes arguments and results in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def leaves(tree: Any, kind: type[T]) -> list[T]:
    """Everything of one type in the tree. Dicts go by sorted key, which is the order that Keras numbers them in."""
    if isinstance(tree, kind):
        return [tree]
    if isinstance(tree, Mapping):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key], kind)]
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in leaves(branch, kind)]
    return []


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of the tree."""
    return leaves(tree, Tensor)


def replaced(tree: Any, kind: type[T], new: Callable[[T], Any]) -> Any:
    """The tree with everything of one type exchanged."""
    if isinstance(tree, kind):
        return new(tree)
    if isinstance(tree, Mapping):
        return {key: replaced(branch, kind, new) for key, branch in tree.items()}
    if isinstance(tree, list | tuple):
        return [replaced(branch, kind, new) for branch in tree]
    return tree
