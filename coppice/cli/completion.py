"""What a shell completes: the values of an option, alone, in a list, or after the layer that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Completion = Callable[[str], list[str]]


def one_of(choices: Iterable[str]) -> Completion:
    """One of some words."""
    words = tuple(map(str, choices))

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def some_of(choices: Iterable[str]) -> Completion:
    """Several words with commas between, none of them twice: `int8,i` -> `int8,int4`."""
    words = tuple(map(str, choices))

    def complete(incomplete: str) -> list[str]:
        given, comma, begun = incomplete.rpartition(",")
        return [given + comma + word for word in words if word.startswith(begun) and word not in given.split(",")]

    return complete


def by_layer(choices: Iterable[str]) -> Completion:
    """A word after the name of a layer, which only its user knows: `fc1=int8,fc2=i` -> `fc1=int8,fc2=int4`."""
    words = tuple(map(str, choices))

    def complete(incomplete: str) -> list[str]:
        named, equals, begun = incomplete.rpartition("=")
        return [named + equals + word for word in words if equals and word.startswith(begun)]

    return complete
