"""Which layer a node of a traced function belongs to, told by names and calls, as TensorFlow makes them from Keras."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coppice.formats.keras.file import LayerPath
from coppice.formats.saved_model.protos import Message
from coppice.formats.saved_model.sizes import Resized, Sizes

_LAYER_CALL = re.compile(r"__inference_(?P<layer>.+)_layer_call_(fn|and_return_conditional_losses)_\d+")
_WHOLE_MODEL = re.compile(r"__inference_(_wrapped_model|signature_wrapper\w*)_\d+")
#: Operators whose functions go on in the names of the node: `lstm/while` calls one that holds `lstm/while/add`.
BRANCHING = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"})
#: What several functions share that are the same on different devices; one of them is called.
SAME = "api_implements"
#: What marks the halves of a function that were traced for its gradient, which nobody calls in a saved graph.
_GRADIENT_HALVES = ("forward_function_name", "backward_function_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The layer that a node belongs to, and the node's name below the layer's scope."""

    path: LayerPath
    layer: Resized
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    function: str
    node: str
    goes_on: bool  # in the names of the caller


def called_functions(node: Message) -> Iterator[str]:
    """The functions that a node of a graph refers to."""
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        for function in attribute.list.func:
            yield function.name


class Owners:
    """The owners of all nodes of a graph's functions."""

    def __init__(self, sizes: Sizes, root_name: str, library: Message) -> None:
        self._sizes = sizes
        self._root_name = root_name
        self._by_name: dict[str, list[LayerPath]] = defaultdict(list)
        self._by_name[root_name].append(())
        for path in sizes:
            self._by_name[path[-1]].append(path)
        self._callers = _callers(library)
        self._contexts: dict[str, LayerPath | None] = {}

    def is_whole_model(self, function: str) -> bool:
        """Whether the function takes the model's own inputs, whose sizes no cut changes."""
        return self._layers_called(function) == [()] or self._is_signature(function)

    def _is_signature(self, function: str) -> bool:
        """Whether it is what a signature wraps: a function of the user's own, called with the model's inputs."""
        callers = self._callers.get(function, ())
        called = any(_WHOLE_MODEL.fullmatch(caller.function) and not caller.goes_on for caller in callers)
        return called and self._context(function) == ()

    def of(self, function: str, node: str) -> Owner | None:
        """The owner of a node; None where names leave more than one choice or none."""
        context = self._context(function)
        if context is None:
            return None
        found: dict[str, LayerPath] = {}
        for path in self._sizes:
            if path[: len(context)] == context and len(path) > len(context):
                for scope in self._scopes(path, len(context)):
                    marks = (f"{scope}/", f"{self._root_name}/{scope}/")
                    found |= {mark: path for mark in marks if node.startswith(mark)}
        if found:
            mark = max(found, key=len)
            return Owner(path=found[mark], layer=self._sizes[found[mark]], name=node.removeprefix(mark))
        return Owner(path=context, layer=self._sizes[context], name=node) if context else None

    def _scopes(self, path: LayerPath, known: int) -> Iterator[str]:
        """What the names of a layer's nodes begin with, below the first `known` scopes."""
        yield "/".join(path[known:])
        around = self._sizes.get(path[:-2])
        if around is not None and around.was.kind == "TimeDistributed" and len(path) - known > 1:
            yield "/".join((*path[known:-2], path[-1]))  # it also runs a model's layers without the model's own scope

    def _layers_called(self, function: str) -> list[LayerPath]:
        """The layers, by path, that a function may be the call of by its name; `()` is the model itself."""
        if _WHOLE_MODEL.fullmatch(function):
            return [()]
        found = _LAYER_CALL.fullmatch(function)
        return self._by_name.get(found["layer"], []) if found else []

    def _context(self, function: str) -> LayerPath | None:
        """The layer in whose scope the function's nodes are named: of its own name, else of those that call it."""
        if function not in self._contexts:
            self._contexts[function] = None  # for one that calls itself
            named = self._layers_called(function)
            if len({self._sizes[path].node for path in named if path}) == 1:
                named = named[:1]  # one layer in several places
            callers = () if named else self._callers.get(function, ())
            found = {*named, *(self._context_at(caller) for caller in callers)}
            self._contexts[function] = next(iter(found)) if len(found) == 1 else None
        return self._contexts[function]

    def _context_at(self, caller: _Caller) -> LayerPath | None:
        if caller.goes_on:
            return self._context(caller.function)
        owner = self.of(caller.function, caller.node)
        if owner is None:  # between the layers of the model, or unknown
            return () if self._context(caller.function) == () else None
        return owner.path


def _callers(library: Message) -> Mapping[str, list[_Caller]]:
    """Function -> where it is called; one for another device counts as called where its twin is."""
    callers: dict[str, list[_Caller]] = defaultdict(list)
    for function in library.function:
        for node in function.node_def:
            for name in called_functions(node):
                called = _Caller(function=function.signature.name, node=node.name, goes_on=node.op in BRANCHING)
                callers[name].append(called)
    for same in twins(library).values():
        together = [caller for name in same for caller in callers.get(name, ())]
        callers |= dict.fromkeys(same, together)
    return callers


def twins(library: Message) -> Mapping[bytes, list[str]]:
    """Functions that are implementations of one thing, by its name."""
    found: dict[bytes, list[str]] = defaultdict(list)
    for function in library.function:
        if SAME in function.attr and not any(mark in function.attr for mark in _GRADIENT_HALVES):
            found[function.attr[SAME].s].append(function.signature.name)
    return found


def rename_twins(library: Message, sizes: Sizes) -> None:
    """Give implementations of one thing a name of their own: TensorFlow looks for them in the whole process.

    Where a program has loaded the original, too, it would take one for the other. Of equal sizes they are equal.
    """
    shapes = sorted((path, sorted(layer.now.arrays.items())) for path, layer in sizes.items())
    mark = hashlib.sha256(repr(shapes).encode()).hexdigest()[:8]
    for function in library.function:
        if SAME in function.attr:
            function.attr[SAME].s += f"_{mark}".encode()


def drop_unused(library: Message, roots: set[str]) -> None:
    """Leave out functions that nothing calls: what the tracing of gradients left behind for the saving process."""
    calls: dict[str, set[str]] = {
        function.signature.name: {name for node in function.node_def for name in called_functions(node)}
        for function in library.function
    }
    for same in twins(library).values():
        for name in same:
            calls[name].update(same)
    waiting = list(roots)
    used: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting.extend(calls.get(name, ()))
    kept: list[Any] = [function for function in library.function if function.signature.name in used]
    del library.function[:]
    library.function.extend(kept)
