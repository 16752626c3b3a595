"""Following numbers through a forward pass: tracked ones are handed out, and what they are used for is noted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from coppice.channels import Axes, Labels, Ledger
from coppice.tracing.call import fixed
from coppice.tracing.composites import in_steps
from coppice.tracing.equations import NONE, Apart, Equation, Shares
from coppice.tracing.expressions import Attribute, Expression, Length, Literal, leaves
from coppice.tracing.integers import Integers, Suspect
from coppice.tracing.places import Holder, Inside, holders, replaced
from coppice.tracing.sites import Place, computes, function, site, spelled
from coppice.tracing.sizes import LITERAL, SIZES, Seen
from coppice.tracing.tracked import Tracked, plain

T = TypeVar("T")

_SHAPE = vars(torch._C.TensorBase)["shape"].__get__
#: Python code of torch's own that a mode would otherwise run in one piece, blind to the sizes within.
_COMPOSITES = (torch.nn.functional, torch.functional)
_SWITCHES = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
#: Operators that take a number as a value: what they compute depends on it.
_ARITHMETIC = frozenset(
    f"{name}{suffix}"
    for name in ("add", "sub", "mul", "div", "true_divide", "pow", "multiply", "divide", "subtract", "floor_divide")
    for suffix in ("", "_")
) | {"rsub", "__rsub__", "__rpow__", "__rdiv__", "__rtruediv__", "__pow__"}
#: What makes a tensor of a number, and what reads it back as one.
_MADE = frozenset({"tensor", "as_tensor", "scalar_tensor"})
_READ = frozenset({"item", "tolist", "__int__", "__index__", "__get__", "dim"})


class Following(TorchFunctionMode):
    """The listener of one trace: `of` is a context around each forward pass, `settled` says what came of them."""

    def __init__(self, ledger: Ledger, labels: Callable[[torch.Tensor], Axes | None], path: Sequence[Place]) -> None:
        super().__init__()
        self.listening = False
        #: Axes of the result of the call at work whose sizes the code gave as mere numbers.
        self.literal: frozenset[int] = frozenset()
        self._ledger, self._known, self._path = ledger, labels, path
        self._vectors: list[Labels] = [fixed([0])[0]]
        self._vector_of: dict[bytes, int] = {}
        self._equations: dict[tuple[Expression, Expression, bool], Equation] = {}
        self._apart: dict[tuple[Expression, Expression], Apart] = {}
        self._scales: dict[Expression, str] = {}
        self._fractions: Counter[Expression] = Counter()  # how many of them are still fractions
        #: Tensor -> the number that it was made of.
        self._made: MutableMapping[torch.Tensor, Expression] = WeakTensorKeyDictionary()
        #: Value, and the function that made it ordinary by `int()` -> what it was computed from.
        self._lost: dict[tuple[int, CodeType | None], Expression] = {}
        self._holders: dict[tuple[int, str], tuple[int, Holder]] = {}
        self._places: list[tuple[int, Inside, int]] = []
        self._place_of: dict[tuple[int, Inside], int] = {}

    @contextmanager
    def of(self, module: nn.Module) -> Iterator[None]:
        """While active, the numbers that the module's code reads are tracked; its attributes come back as they were."""
        given = self._hand_out(module)
        switches = [(home, name, getattr(home, name)) for home in _COMPOSITES for name in _SWITCHES]
        try:
            for home, name, _ in switches:
                setattr(home, name, _never)
            self.listening = True
            with self:
                yield
        finally:
            self.listening = False
            for home, name, switch in switches:
                setattr(home, name, switch)
            for holder, tracked in given:
                if holder.namespace.get(holder.key) is tracked:
                    holder.namespace[holder.key] = holder.value
                    if holder.inherited:
                        del holder.namespace[holder.key]
            for part in module.modules():  # what the code itself has kept
                vars(part).update({key: now for key, value in vars(part).items() if (now := plain(value)) is not value})

    def settled(self) -> Integers:
        """Couple in the ledger what must lose the same share; and all that is needed to compute new values."""
        self._ledger.where = ""
        units, stored = self._ledger.units(), {(name, axis): labels for name, axis, labels in self._ledger.stored()}
        held = np.zeros(units.max(initial=0) + 1, dtype=bool)
        held[units[self._ledger.held()]] = True
        loose = ~held
        for labels in stored.values():
            loose[units[labels]] = False
        vectors = [self._ledger.through(labels) for labels in self._vectors]
        loosely = [bool(loose[units[labels]].all()) for labels in vectors]
        equations = [one for one in self._equations.values() if not _is_loose(one, loosely)]
        shares = Shares(units, held, vectors, equations)
        while shares.stays:  # what stays may be what others can't follow
            for labels, reason in shares.stays:
                self._ledger.fix(labels, reason)
                held[units[labels]] = True
            shares = Shares(units, held, vectors, equations)
        for a, b, reason in shares.couples:
            self._ledger.couple(a, b, reason)
        for expression, where in self._scales.items():
            if self._fractions[expression] <= 0:
                continue
            for labels in shares.counted(expression):
                self._ledger.mixes(labels, f"the code computes with the number of these channels: {where}")
        return Integers(
            holders=tuple(holder for _, holder in self._holders.values()),
            places=tuple(self._places),
            vectors=tuple(vectors),
            equations=tuple(one for one in equations if one.hard_coded is None),
            bindings=tuple(shares.bindings),
            apart=tuple(self._apart.values()),
            suspects=tuple(found for one in equations for found in self._suspects(one, vectors, units)),
            units=units,
            stored=stored,
        )

    def _suspects(self, equation: Equation, vectors: Sequence[Labels], units: Labels) -> Iterator[Suspect]:
        if equation.hard_coded is None:
            return
        verb = "counted by" if equation.size else "compared with"
        for leaf in (*leaves(equation.left), *leaves(equation.right)):
            if isinstance(leaf, Length) and leaf.vector != NONE:
                reason = f"{verb} {equation.spelled}: {equation.site}"
                yield Suspect(units=np.unique(units[vectors[leaf.vector]]), reason=reason)

    # What the numbers tell.

    def equal(self, left: Expression, right: Expression) -> None:
        """The code has compared two numbers and found them equal."""
        lengths = any(isinstance(leaf, Length) for side in (left, right) for leaf in leaves(side))
        if lengths or not isinstance(right, Literal):
            self._note(left, right, "comparison", size=False)

    def unequal(self, left: Expression, right: Expression) -> None:
        """The code has compared two numbers and found them different."""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Attribute):
                self._apart[one, other] = Apart(attribute=one, other=other)

    def scale(self, expression: Expression) -> None:
        """The code has made a number with a fraction of one."""
        self._fractions[expression] += 1
        if expression not in self._scales:
            self._scales[expression] = site("a scale", self._path)

    def whole(self, expression: Expression) -> None:
        """The fraction was made a whole number."""
        self._fractions[expression] -= 1

    def lost(self, expression: Expression) -> None:
        """`int()` has made an ordinary number of it."""
        if any(isinstance(leaf, Attribute) or leaf.vector != NONE for leaf in leaves(expression)):
            self._lost[expression.value, function()] = expression

    # What torch tells.

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self._lost and (name in SIZES or name in LITERAL):
            args, kwargs = self._found_again(args), {key: self._found_again(value) for key, value in kwargs.items()}
        self.literal = _read(LITERAL[name], args, kwargs) or frozenset() if name in LITERAL else frozenset()
        try:
            with in_steps(name):
                result = func(*args, **kwargs)
        finally:
            self.literal = frozenset()
        if name in ("size", "__get__"):
            return self._lengths(result, *args, **kwargs) if name == "size" or func == _SHAPE else result
        if name in ("numel", "nelement"):
            return math.prod(self._lengths(args[0].size(), args[0]))
        if self._made and name not in _READ:
            for made in (one for one in args if isinstance(one, torch.Tensor) and one in self._made):
                self.scale(self._made[made])
        if name == "__len__":
            self.lost(self._length(self._axes(args[0])[0]))
        if (sizes_of := SIZES.get(name)) is not None:
            seen = Seen(args, kwargs, result, self._axes, self._length)
            for number, labels in _read(lambda: list(sizes_of(seen))) or ():
                self._note(number, self._length(labels), name, size=True)
        elif name in _ARITHMETIC:
            for number in (*args, *kwargs.values()):
                if isinstance(number, Tracked):
                    self.scale(number.expression)
        elif name in _MADE and args and isinstance(args[0], Tracked):
            self._made[result] = args[0].expression
        elif name == "scaled_dot_product_attention" and kwargs.get("scale") is None:
            self.scale(self._length(self._axes(args[0] if args else kwargs["query"])[-1]))
        return result

    def _found_again(self, given: Any) -> Any:
        """Numbers that have lost their trail, tracked again: `n = int(self.width / 2)`, `x.view(-1, n)`.

        They are recognised by their value, in the function that lost them, on a line that neither writes the value out
        nor takes it from a global; else they would be numbers that can't follow. Where it is another number of the same
        value, the cut that relies on it is run and compared like any other: outputs that differ refuse it, and an
        attribute that was set for it and changes no output is one on which nothing depends.
        """
        if type(given) is int and given > 1 and (found := self._lost.get((given, function()))) is not None:
            return Tracked(given, found, self) if computes(given) else given
        if type(given) in (list, tuple, torch.Size):
            return type(given)([self._found_again(entry) for entry in given])
        if type(given) is slice:
            return slice(self._found_again(given.start), self._found_again(given.stop), given.step)
        return given

    def _lengths(self, result: Any, tensor: torch.Tensor, dim: Any = None, *_: Any) -> Any:
        """What `shape` and `size` give, tracked."""
        axes = self._axes(tensor)
        if isinstance(result, torch.Size):
            return torch.Size([Tracked(n, self._length(one), self) for n, one in zip(result, axes, strict=True)])
        return Tracked(result, self._length(axes[dim]), self) if isinstance(dim, int) else result

    def _axes(self, tensor: torch.Tensor) -> Axes:
        known, shape = self._known(tensor), tuple(tensor.shape)
        # Operators that turn a tensor around in place leave labels that no longer fit it.
        return fixed(shape) if known is None or tuple(labels.size for labels in known) != shape else known

    def _length(self, labels: Labels) -> Length:
        if not labels.any():
            return Length(NONE, labels.size)
        key = labels.tobytes()
        if key not in self._vector_of:
            self._vector_of[key] = len(self._vectors)
            self._vectors.append(labels)
        return Length(self._vector_of[key], labels.size)

    def _note(self, left: Expression, right: Expression, operator: str, *, size: bool) -> None:
        if left == right or left.value != right.value or (isinstance(left, Literal) and left.value <= 1):
            return  # a single position is never removed
        if all(isinstance(side, Literal) or side == Length(NONE, side.value) for side in (left, right)):
            return  # of what stays, nothing follows
        if (left, right, size) not in self._equations:
            alone = next((side for side in (left, right) if isinstance(side, Literal)), None)
            self._equations[left, right, size] = Equation(
                left=left,
                right=right,
                size=size,
                site=site(operator, self._path),
                spelled="" if alone is None else spelled(alone.value),
            )

    # Numbers that modules hold.

    def _hand_out(self, module: nn.Module) -> list[tuple[Holder, Any]]:
        given = []
        for holder in holders(module):
            number, _ = self._holders.setdefault((id(holder.namespace), holder.attribute), (len(self._holders), holder))

            def tracked(inside: Inside, value: int, number: int = number) -> Tracked:
                return Tracked(value, Attribute(self._place(number, inside, value), value), self)

            value = replaced(holder.value, tracked)
            holder.namespace[holder.key] = value
            given.append((holder, value))
        return given

    def _place(self, holder: int, inside: Inside, value: int) -> int:
        if (holder, inside) not in self._place_of:
            self._place_of[holder, inside] = len(self._places)
            self._places.append((holder, inside, value))
        return self._place_of[holder, inside]


def _read(read: Callable[..., T], *arguments: Any) -> T | None:
    """What a table's function reads from a call; None where it did not foresee the call: the oracle judges the cut."""
    try:
        return read(*arguments)
    except Exception:  # noqa: BLE001 - a call in a form of its own must not break the model that makes it
        return None


def _never(*_: Any) -> bool:
    return False


def _is_loose(equation: Equation, loose: Sequence[bool]) -> bool:
    """Whether it counts positions that lie on nothing stored, and follow whatever they meet."""
    return any(
        isinstance(leaf, Length) and leaf.vector != NONE and loose[leaf.vector] for leaf in leaves(equation.right)
    )
