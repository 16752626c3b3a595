"""The end of the arrow where fewer bits are asked for: quantize -> write -> run in the file's own runtime -> judge.

What is quantized is a model in floats: one that was cut, or one as it was sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from coppice.errors import TargetUnreachable
from coppice.formats.quantized import Quantizing, Written, write_quantized
from coppice.formats.source import Source
from coppice.records.figures import significant
from coppice.records.plan import Plan
from coppice.records.quantization import Wanted
from coppice.records.quantized_words import lines
from coppice.records.report import Progress, Quality, Quantized, Raised, Report, Tell
from coppice.records.request import Task
from coppice.steps.drop import loss
from coppice.steps.quantize import Outcome, quantize
from coppice.steps.restore import Basis

#: Files that are written, at most, on the way to one that keeps within `max_drop` in its own runtime, too.
MOST_WRITTEN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """What is quantized: a module in floats, and what was cut of it before."""

    module: nn.Module
    plan: Plan
    basis: Basis | None


def quantized(source: Source, dense: Dense, report: Report, out: Path, progress: Tell) -> Report:
    """Quantize a model as the report's request says, write and run it; gives the report with what came of it.

    The float files that may be in `out` already stay.
    """
    request, basis = report.request, dense.basis
    wanted = request.quantization
    if wanted is None:
        return report
    progress(Progress(step="quantize", fraction=0.88))
    outcome = quantize(source.network, dense.module, request, basis)
    trials = outcome.trials
    for number in range(MOST_WRITTEN):
        progress(Progress(step="write", fraction=0.93, detail=f"{wanted.output_format}, run in its own runtime"))
        task = _task(source, dense, wanted, outcome)
        written = write_quantized(request.framework, task, out)
        account = _account(task, outcome, written, report.quality, basis, out)
        drop = _lost(account, basis)
        if request.task is not Task.QUANTIZE or request.max_drop is None or drop <= request.max_drop:
            break
        # What flows is rounded in the file alone: where that costs more than was left, weights have to make up for it.
        trials = (*trials, _refused(trials, drop))
        outcome = quantize(source.network, dense.module, request, basis, beyond=outcome.raised + 2**number)
        trials = (*trials, *outcome.trials)
    else:
        raise TargetUnreachable(
            f"max_drop={request.max_drop:g} can't be kept: of {MOST_WRITTEN} files the last costs {drop:.3g} on the "
            "samples held out. Accept more, ask for activations=float32, or give layers more bits by layers=.",
            field="max_drop",
        )
    account = account.model_copy(update={"trials": trials})
    update = {
        "quantized": account,
        "summary": "\n".join((*lines(account), "", report.summary)),
        "artifacts": (*report.artifacts, *written.artifacts),
        "notes": (*report.notes, *outcome.model.notes, *written.notes),
        "warnings": (*report.warnings, *disappointments(account)),
    }
    return report.model_copy(update=update)


def _task(source: Source, dense: Dense, wanted: Wanted, outcome: Outcome) -> Quantizing:
    return Quantizing(
        wanted=wanted,
        source=source,
        plan=dense.plan,
        dense=dense.module,
        model=outcome.model,
        calibration=None if dense.basis is None else dense.basis.fitted,
        held_out=None if dense.basis is None else dense.basis.judge.samples,
    )


def _lost(account: Quantized, basis: Basis | None) -> float:
    """What the file loses in its own runtime, in the terms of `max_drop`."""
    if basis is None or account.fidelity is None:
        return math.inf
    return loss(basis.judge.original, account.fidelity, basis.judge.distance)


def _refused(trials: Sequence[Raised], drop: float) -> Raised:
    """The file of the model that was accepted last, as one more trial."""
    chosen = next(trial for trial in reversed(trials) if trial.accepted)
    return chosen.model_copy(update={"drop": drop if math.isfinite(drop) else None, "accepted": False})


class _Recorded(nn.Module):
    """Gives what a file's runtime gave for the samples held out, batch after batch."""

    def __init__(self, outputs: tuple[Tensor, ...]) -> None:
        super().__init__()
        self._outputs, self._next = outputs, 0

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """As many rows as there are inputs."""
        start, size = self._next, next(entry.shape[0] for entry in inputs if entry.dim())
        self._next += size
        return tuple(leaf[start : start + size] for leaf in self._outputs)


def _account(
    task: Quantizing, outcome: Outcome, written: Written, floats: Quality | None, basis: Basis | None, out: Path
) -> Quantized:
    """What came of one file; `floats` is what the samples say of the model that was quantized."""
    judge = basis.judge if basis is not None and written.outputs else None
    outputs = written.outputs or ()
    float_latency, latency = written.latencies or (None, None)
    numbers = task.wanted.numbers
    return Quantized(
        output_format=task.wanted.output_format,
        runtime=written.runtime,
        weights=numbers.weights,
        biases=numbers.biases,
        activations=numbers.activations,
        layers=outcome.layers,
        file_bytes=(out / written.artifacts[0].file).stat().st_size,
        float_file_bytes=written.float_bytes,
        bytes_by_type=dict(written.bytes_by_type),
        arithmetic=written.arithmetic,
        operators=dict(written.operators),
        floating=dict(written.floating),
        fidelity=None if judge is None else judge.of(_Recorded(outputs)),
        float_fidelity=None if floats is None else floats.restored,
        snr_db=None if judge is None else judge.snr(task.dense, _Recorded(outputs)),
        latency_ms=latency.milliseconds if latency else None,
        latency_spread_ms=latency.spread if latency else None,
        float_latency_ms=float_latency.milliseconds if float_latency else None,
        float_latency_spread_ms=float_latency.spread if float_latency else None,
    )


def disappointments(account: Quantized) -> tuple[str, ...]:
    """What was not won, a sentence each."""
    return tuple(_disappointments(account))


def _disappointments(account: Quantized) -> Iterator[str]:
    if account.file_bytes >= account.float_file_bytes:
        sizes = f"{account.file_bytes:,} bytes, in floats {account.float_file_bytes:,}"
        yield f"The quantized file is not smaller: {sizes}."
    latency, before = account.latency_ms, account.float_latency_ms
    if latency is None or before is None or latency < before:
        return
    spread = max(account.latency_spread_ms or 0.0, account.float_latency_spread_ms or 0.0)
    times = f"one sample takes {significant(latency)} ms in {account.runtime}, in floats {significant(before)} ms"
    if latency - before > spread:
        yield f"The quantized model is slower here than in floats: {times}."
    else:
        # What is stored in few bits and computed in floats takes the same time, give or take.
        runs = f"runs are spread over {significant(spread, 2)} ms"
        yield f"The quantized model is not faster here than in floats: {times}; {runs}."
