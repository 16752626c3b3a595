"""A report with everything in it."""

from __future__ import annotations

from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.report import (
    Candidate,
    Check,
    Cost,
    Distance,
    Failure,
    Fidelity,
    FrozenReport,
    GroupReport,
    InputFile,
    Inspection,
    Machine,
    Quality,
    Report,
    Trial,
    Verification,
)
from coppice.records.request import Part, Request, Spread, Task
from coppice.records.sweep import Axis, Merit, Point, Sweep

#: The name of a layer, as nobody well-meaning gives it.
EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"

REQUEST = Request(
    framework=Framework.PYTORCH,
    percent=0.5,
    omit=("fc 2", "a.*"),
    criterion="l2",
    spread=Spread.GLOBAL,
    round_to=8,
    ratios={"conv1": 0.25},
    keep={"conv1": (0, 3)},
    restore=False,
    seed=7,
    input_size=(Input(shape=(1, 28, 28)),),
    model_name="Net",
    model_args={"classes": 10},
    files={Part.WEIGHTS: "net.pth", Part.CLASS_DEF: "model.py", Part.DATASET: "loader 1.pth"},
)


def _cost(factor: float, latency: float) -> Cost:
    return Cost(
        parameters=int(20522 * factor),
        bytes=int(82088 * factor),
        macs=int(500000 * factor),
        activation_bytes=int(70000 * factor),
        file_bytes=int(90000 * factor),
        latency_ms=latency,
        latency_spread_ms=0.05,
    )


def report(name: str = "conv1") -> Report:
    cut = Fidelity(accuracy=0.42, agreement=0.43, distance=None)
    given_back = Fidelity(accuracy=0.97, agreement=0.975, distance=0.034)
    return Report(
        coppice="0.1.0",
        request=REQUEST,
        versions={"python": "3.11.2", "torch": "2.13.0"},
        inputs={Part.WEIGHTS: InputFile(name="net.pth", bytes=82088, sha256="ab" * 32)},
        groups=(
            GroupReport(name=name, layers=(name, "bn1"), channels=64, asked=32, removed=16, reason="tied to an output"),
            GroupReport(name="conv2", layers=("conv2",), channels=10, asked=5, removed=5),
        ),
        frozen=(FrozenReport(layers=(name,), channels=10, reason="output of the model"),),
        summary="Layer table",
        notes=(f"a note on {name}",),
        verification=Verification(check=Check.EXACT, max_relative_difference=3.1e-15, tolerance=1e-10),
        before=_cost(1, 0.8),
        after=_cost(0.4, 0.79),
        criterion="l2",
        warnings=("The pruned model is not faster here.",),
        quality=Quality(
            samples=320,
            held_out=64,
            distance=Distance.JS,
            before=Fidelity(accuracy=0.984, agreement=1.0, distance=0.0),
            cut=cut,
            restored=given_back,
            candidates=(
                Candidate(method="cut", fidelity=cut),
                Candidate(method="least_squares", fidelity=given_back, chosen=True),
            ),
            repaired=("conv2.weight",),
            left={name: "nothing that it reads went"},
        ),
        trials=(Trial(share=0.5, parameters=1000, drop=None, accepted=False),),
        machine=Machine(processor="A Processor", threads=1),
    )


def inspection(name: str = "conv1") -> Inspection:
    return Inspection(
        coppice="0.1.0",
        request=Request(framework=Framework.KERAS, task=Task.INSPECT, percent=0.5, files={Part.MODEL: "model.h5"}),
        groups=(GroupReport(name=name, layers=(name,), channels=8, asked=4, removed=4, parameters=0.5, macs=0.25),),
        summary="A table",
        parameters=1234,
        macs=56789,
    )


def sweep(name: str = "conv1") -> Sweep:
    def point(percent: float, share: float, accuracy: float, cut: float | None, *front: Axis) -> Point:
        return Point(
            percent=percent,
            cost=_cost(share, share),
            shares=dict.fromkeys(Axis, share),
            fidelity=Fidelity(accuracy=accuracy, agreement=accuracy, distance=0.0),
            cut=None if cut is None else Fidelity(accuracy=cut, agreement=cut, distance=0.0),
            front=front,
            optimal=bool(front),
            artifacts=(f"model_{100 * percent:g}",) if percent else (),
        )

    return Sweep(
        coppice="0.1.0",
        request=Request(
            framework=Framework.KERAS,
            task=Task.SWEEP,
            percent=0.75,
            percents=(0.25, 0.5, 0.75),
            files={Part.MODEL: "model.h5"},
        ),
        frozen=(FrozenReport(layers=(name,), channels=10, reason="output of the model"),),
        summary="A table",
        points=(
            point(0.0, 1.0, 0.9, None, *Axis),
            point(0.25, 0.75, 0.6, 0.5),
            point(0.5, 0.5, 0.8, 0.4, *Axis),
            Point(percent=0.75, error=Failure(code="nothing_to_prune", message=f"{name}: rounds to none")),
        ),
        merit=Merit.ACCURACY,
        held_out=64,
        criterion="obs",
        machine=Machine(processor="A Processor", threads=1),
    )
