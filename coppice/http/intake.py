"""The calls that take a model: one table that the reader, the answers and the Swagger page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coppice.records.frameworks import Framework
from coppice.records.request import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One call: what it does with a model, and the frameworks whose models it takes."""

    call: str
    summary: str
    description: str
    frameworks: frozenset[Framework]
    task: Task = Task.PRUNE


#: framework -> how it is called in a sentence, and the files that its calls take.
_KINDS = {
    Framework.KERAS: ("a TensorFlow or Keras", "a model"),
    Framework.PYTORCH: ("a PyTorch", "a state dict and the class file that it fits"),
    Framework.ONNX: ("an ONNX", "a model"),
}


def _pruning(framework: Framework) -> Intake:
    kind, files = _KINDS[framework]
    return Intake(
        call=f"{framework.value}_prune",
        summary=f"Prune {kind} model",
        description=f"Send {files}; the answer is the `txid` of the job.",
        frameworks=frozenset({framework}),
    )


def _sweeping(framework: Framework) -> Intake:
    kind, files = _KINDS[framework]
    return Intake(
        call=f"{framework.value}_sweep",
        summary=f"Prune {kind} model by several ratios, and compare",
        description=f"Send {files}, and the ratios; one job prunes by each of them, and its result is the curve of "
        "quality against size and time.",
        frameworks=frozenset({framework}),
        task=Task.SWEEP,
    )


def _quantizing(framework: Framework) -> Intake:
    kind, files = _KINDS[framework]
    return Intake(
        call=f"{framework.value}_quantize",
        summary=f"Keep {kind} model in fewer bits",
        description=f"Send {files}, and a precision; nothing is cut. The result is a file that its own runtime has "
        "opened and run. To prune first, in one job, add `quantize` to the call that prunes.",
        frameworks=frozenset({framework}),
        task=Task.QUANTIZE,
    )


INTAKES: Mapping[str, Intake] = {
    intake.call: intake
    for intake in (
        *map(_pruning, _KINDS),
        Intake(
            call="inspect",
            summary="What could be pruned of a model, and what can't and why",
            description="Send a model as for pruning; the job tells what could be pruned of it, and prunes nothing.",
            frameworks=frozenset(Framework),
            task=Task.INSPECT,
        ),
        *map(_sweeping, _KINDS),
        *map(_quantizing, _KINDS),
    )
}
