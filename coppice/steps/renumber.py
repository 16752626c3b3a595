"""renumber: a plan in the names of the model at hand, where a framework counts its layers.

A Keras function that is called twice in one process builds `conv2d` and then `conv2d_1`: the same architecture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from coppice.records.plan import Plan

Shapes = Mapping[str, tuple[int, ...]]

#: What Keras puts behind the name of a layer that it names itself.
_COUNT = re.compile(r"_\d+(?=\.|$)")


def renumbered(plan: Plan, found: Shapes) -> Plan:
    """The plan under the names of a model whose tensors have the shapes `found`.

    It stays as it is unless the two differ, tensor for tensor in their order, in nothing but counts of layers.
    """
    if plan.shapes.keys() == found.keys() or _uncounted(plan.shapes) != _uncounted(found):
        return plan
    names = dict(zip(plan.shapes, found, strict=True))
    layers = {
        old: new
        for tensors in names.items()
        for old, new in zip(*map(_paths, tensors), strict=True)  # equal but for counts, so equally deep
    }
    return plan.model_copy(
        update={
            "kept": {names.get(name, name): axes for name, axes in plan.kept.items()},
            "attributes": {layers.get(path, path): values for path, values in plan.attributes.items()},
            "shapes": dict(found),
            "edits": {layers.get(layer, layer): channels for layer, channels in plan.edits.items()},
        }
    )


def _uncounted(shapes: Shapes) -> list[tuple[str, tuple[int, ...]]]:
    return [(_COUNT.sub("", name), shape) for name, shape in shapes.items()]


def _paths(tensor: str) -> list[str]:
    """The layers that a tensor is in, outermost first."""
    parts = tensor.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
