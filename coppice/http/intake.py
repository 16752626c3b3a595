"""The calls that take a model: one table that the reader, the answers and the Swagger page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coppice.records.request import Framework, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One call: what it does with a model, and the frameworks whose models it takes."""

    call: str
    summary: str
    frameworks: frozenset[Framework]
    task: Task = Task.PRUNE


def _pruning(framework: Framework, kind: str) -> Intake:
    return Intake(call=f"{framework.value}_prune", summary=f"Prune {kind} model", frameworks=frozenset({framework}))


INTAKES: Mapping[str, Intake] = {
    intake.call: intake
    for intake in (
        _pruning(Framework.KERAS, "a TensorFlow or Keras"),
        _pruning(Framework.PYTORCH, "a PyTorch"),
        _pruning(Framework.ONNX, "an ONNX"),
        Intake(
            call="inspect",
            summary="What could be pruned of a model, and what can't and why",
            frameworks=frozenset(Framework),
            task=Task.INSPECT,
        ),
    )
}
