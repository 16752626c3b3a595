"""A report with everything in it."""

from __future__ import annotations

from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.quantization import Activations, Format, Precision, Rounding
from coppice.records.report import (
    Arithmetic,
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
    LayerCost,
    LayerCosts,
    LayerPrecision,
    Machine,
    Quality,
    Quantized,
    Raised,
    Report,
    Trial,
    Verification,
)
from coppice.records.request import Part, Request, Spread, Task
from coppice.records.sweep import Axis, Merit, Point, SmallFile, Sweep
from coppice.steps.pareto import mark

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
        layers=(
            LayerCosts(
                name=f"{name}.inner",
                before=LayerCost(parameters=1000, macs=64_000),
                after=LayerCost(parameters=250, macs=16_000),
            ),
            LayerCosts(
                name="fc.inner", before=LayerCost(parameters=500, macs=0), after=LayerCost(parameters=400, macs=0)
            ),
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


def quantized_file(name: str = "conv1") -> Quantized:
    """A quarter of the floats' size, most of it computed in integers."""
    return Quantized(
        output_format=Format.ONNX,
        runtime="ONNX Runtime 1.31.1",
        weights=Precision.INT8,
        biases=Precision.INT32,
        activations=Activations.UINT8,
        layers=(
            LayerPrecision(
                name=name, tensor=f"{name}.weight", parameters=640, precision=Precision.INT8, rounding=Rounding.GPTQ
            ),
            LayerPrecision(
                name="fc",
                tensor="fc.weight",
                parameters=33,
                precision=Precision.INT4,
                rounding=Rounding.NEAREST,
                reason=f"as layers says of {name}",
            ),
        ),
        file_bytes=9500,
        float_file_bytes=38000,
        bytes_by_type={"float32": 1000, "int8": 7000},
        arithmetic=Arithmetic.MIXED,
        operators={"QLinearConv": 2, "Gemm": 1},
        floating={name: "no integer kernel takes it"},
        fidelity=Fidelity(accuracy=0.96, agreement=0.965, distance=0.036),
        float_fidelity=Fidelity(accuracy=0.97, agreement=0.975, distance=0.034),
        snr_db=38.04,
        latency_ms=0.2,
        latency_spread_ms=0.01,
        float_latency_ms=0.5,
        float_latency_spread_ms=0.02,
        trials=(Raised(layers={Precision.INT8: 1, Precision.INT4: 1}, bytes=657, drop=0.012, accepted=True),),
    )


def pruned_and_quantized(name: str = "conv1") -> Report:
    found = report(name)
    request = found.request.model_copy(update={"precision": Precision.INT8})
    return found.model_copy(update={"request": request, "quantized": quantized_file(name)})


def only_quantized(name: str = "conv1", **changes: object) -> Report:
    """What a job that cuts nothing leaves."""
    found = report(name)
    request = Request(
        framework=Framework.PYTORCH,
        task=Task.QUANTIZE,
        percent=0.0,
        precision=Precision.INT8,
        max_drop=0.02,
        input_size=(Input(shape=(1, 28, 28)),),
        model_name="Net",
        files=REQUEST.files,
    )
    assert found.quality is not None
    original = found.quality.before
    update = {
        "request": request,
        "after": found.before,
        "groups": (),
        "frozen": (),
        "trials": (),
        "criterion": "none",
        "warnings": (),
        "verification": Verification(check=Check.NONE),
        "quality": Quality(
            samples=320, held_out=64, distance=Distance.JS, before=original, cut=original, restored=original
        ),
        "quantized": quantized_file(name).model_copy(update=changes),
    }
    return found.model_copy(update=update)


def inspection(name: str = "conv1") -> Inspection:
    return Inspection(
        coppice="0.1.0",
        request=Request(framework=Framework.KERAS, task=Task.INSPECT, percent=0.5, files={Part.MODEL: "model.h5"}),
        groups=(GroupReport(name=name, layers=(name,), channels=8, asked=4, removed=4, parameters=0.5, macs=0.25),),
        summary="A table",
        parameters=1234,
        macs=56789,
    )


#: Those of a sweep that quantizes nothing.
COSTS = (Axis.PARAMETERS, Axis.MACS, Axis.BYTES, Axis.LATENCY)


def sweep(name: str = "conv1") -> Sweep:
    def point(percent: float, share: float, accuracy: float, cut: float | None, *front: Axis) -> Point:
        return Point(
            percent=percent,
            cost=_cost(share, share),
            shares=dict.fromkeys(COSTS, share),
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
            point(0.0, 1.0, 0.9, None, *COSTS),
            point(0.25, 0.75, 0.6, 0.5),
            point(0.5, 0.5, 0.8, 0.4, *COSTS),
            Point(percent=0.75, error=Failure(code="nothing_to_prune", message=f"{name}: rounds to none")),
        ),
        merit=Merit.ACCURACY,
        held_out=64,
        criterion="obs",
        machine=Machine(processor="A Processor", threads=1),
    )


def swept_by_precisions(name: str = "conv1") -> Sweep:
    """A whole model and one that lost half, in floats and in fewer bits."""
    dense, _, half, _ = sweep(name).points

    def small(point: Point, precision: Precision, file: float, accuracy: float, arithmetic: Arithmetic) -> Point:
        return point.model_copy(
            update={
                "precision": precision,
                "shares": {
                    **point.shares,
                    Axis.FILE: file,
                    Axis.BYTES: file,
                    Axis.LATENCY: point.shares[Axis.LATENCY] * (0.4 if arithmetic is Arithmetic.INTEGER else 1.0),
                },
                "fidelity": Fidelity(accuracy=accuracy, agreement=accuracy, distance=0.01),
                "cut": None,
                "quantized": SmallFile(
                    output_format=Format.ONNX,
                    runtime="ONNX Runtime 1.31.1",
                    arithmetic=arithmetic,
                    file_bytes=int(90000 * file),
                    float_file_bytes=int(90000 * point.shares[Axis.BYTES]),
                    snr_db=40.5,
                    latency=0.4 if arithmetic is Arithmetic.INTEGER else 1.0,
                ),
                "artifacts": (f"quantized_{100 * point.percent:g}_{precision}",),
            }
        )

    whole, cut = (
        one.model_copy(update={"shares": {**one.shares, Axis.FILE: one.shares[Axis.BYTES]}}) for one in (dense, half)
    )
    request = Request(
        framework=Framework.KERAS,
        task=Task.SWEEP,
        percents=(0.0, 0.5),
        percent=0.5,
        precisions=(Precision.FLOAT32, Precision.INT8, Precision.INT2),
        files={Part.MODEL: "model.h5"},
    )
    failed = Failure(code="refused", message=f"{name}: no integer can hold it")
    points = (
        whole,
        small(dense, Precision.INT8, 0.25, 0.89, Arithmetic.INTEGER),
        small(dense, Precision.INT2, 0.08, 0.7, Arithmetic.FLOAT),
        cut,
        small(half, Precision.INT8, 0.125, 0.79, Arithmetic.INTEGER),
        Point(percent=0.5, precision=Precision.INT2, error=failed),
    )
    return sweep(name).model_copy(update={"request": request, "points": mark(points).points})
