"""ONE PLACE for propagation: how the labels of an operator's outputs follow from those of its inputs.

Each file holds one kind of operation: its rule, and the operators that it serves. To teach the engine an operator,
add its name to a row, or a function with a row of its own, and a case to `tests/engine/test_rules.py`.
"""

from __future__ import annotations

import torch

from coppice.rules import (
    complex_numbers,
    contraction,
    convolution,
    creation,
    elementwise,
    indexing,
    joining,
    losses,
    movement,
    normalization,
    reduction,
    spatial,
)
from coppice.tracing.call import Rule

TABLES: tuple[dict[str, Rule], ...] = (
    complex_numbers.RULES,
    contraction.RULES,
    convolution.RULES,
    creation.RULES,
    elementwise.RULES,
    indexing.RULES,
    joining.RULES,
    losses.RULES,
    movement.RULES,
    normalization.RULES,
    reduction.RULES,
    spatial.RULES,
)


def _merged() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for table in TABLES:
        for name, rule in table.items():
            if name in rules:
                raise RuntimeError(f"two rules for {name}")
            rules[name] = rule
    return rules


#: "aten::conv2d" or "aten::max.dim" -> rule; a name without overload serves every overload.
RULES: dict[str, Rule] = _merged()


def rule_of(op: torch._ops.OpOverload) -> Rule | None:
    """The rule of an operator: by its full name, by the framework's own tag, or by its name without overload."""
    name, overload = op._schema.name, op._overloadname
    if (found := RULES.get(f"{name}.{overload}")) is not None:
        return found
    if _pointwise(op):  # before the bare name: `max(a, b)` compares tensors, `max(a)` reduces one
        return elementwise.elementwise
    return RULES.get(name) or RULES.get(name.removesuffix("_"))


def _pointwise(op: torch._ops.OpOverload) -> bool:
    if torch.Tag.pointwise in op.tags:
        return True
    # Some in-place operators lack the tag that the functional ones have.
    namespace, _, name = op._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None) if name.endswith("_") else None
    twin = getattr(packet, op._schema.overload_name or "default", None)
    return twin is not None and torch.Tag.pointwise in twin.tags


__all__ = ["RULES", "rule_of"]
