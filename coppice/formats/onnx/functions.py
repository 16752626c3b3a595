"""Functions that a model brings along, as PyTorch's exporters of 2023 wrote them: written out where they are called."""

from __future__ import annotations

import onnx
from onnx import inliner

from coppice.errors import HostileFile, ModelInvalid

Key = tuple[str, str]


def inlined(model: onnx.ModelProto, name: str, *, limit: int) -> onnx.ModelProto:
    """The model without functions; raises HostileFile where they would grow beyond the limit."""
    if not model.functions:
        return model
    sizes: dict[Key, int] = {}
    bodies = {(function.domain, function.name): function for function in model.functions}

    def size(key: Key, above: frozenset[Key]) -> int:
        """Nodes of a function with all that it calls; each is counted once, however often it is called."""
        if key in above:
            raise HostileFile(f"{name}: the function {key[1][:100]!r} calls itself.")
        if key not in sizes:
            sizes[key] = 0
            for node in bodies[key].node:
                inner = (node.domain, node.op_type)
                sizes[key] += size(inner, above | {key}) if inner in bodies else 1
                if sizes[key] > limit:
                    raise HostileFile(f"{name}: its functions grow to more than {limit:,} nodes.")
        return sizes[key]

    called = ((node.domain, node.op_type) for node in model.graph.node)
    total = sum(size(key, frozenset()) if key in bodies else 1 for key in called)
    if total > limit:
        raise HostileFile(f"{name}: its functions grow to {total:,} nodes; the limit is {limit:,}.")
    try:
        return inliner.inline_local_functions(model)
    except Exception as e:  # onnx raises what its C++ throws
        raise ModelInvalid(f"{name}: its functions can't be written out: {str(e)[:300]}") from e
