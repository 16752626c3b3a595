"""What of a request of fewer bits needs samples, and what does without: one table for every front and the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coppice.errors import SamplesMissing
from coppice.records.quantization import CAPABILITIES, Activations, Rounding, Wanted
from coppice.records.request import Request

#: Weights of fewer bits are worth nothing when they are rounded without a look at what they meet.
ENOUGH_BITS = 4
#: Roundings that look at what a layer meets.
CALIBRATED = frozenset({Rounding.GPTQ, Rounding.ADAROUND})


def _fewest_bits(request: Request, wanted: Wanted) -> int:
    """Of the weights; enough where none become whole numbers."""
    asked = (wanted.numbers.weights, *request.layers.values())
    return min((one.bits for one in asked if one.whole), default=ENOUGH_BITS)


def _uncalibrated(request: Request, wanted: Wanted) -> Activations:
    """How the same kind of file keeps activations without samples."""
    there = CAPABILITIES[request.framework, wanted.output_format]
    fitting = (one.activations for one in there if wanted.numbers.weights in one.weights)
    found = (one for activations in fitting for one in activations if not one.calibrated)
    return next(found, Activations.FLOAT32)


#: (whether it needs samples, why, what to do without).
_NEEDS: tuple[tuple[Callable[[Request, Wanted], bool], str, str], ...] = (
    (
        lambda _, wanted: wanted.numbers.activations.calibrated,
        "activations={0.numbers.activations} need samples: their scales are found on them",
        "activations={2} needs none",
    ),
    (
        lambda request, wanted: request.rounding in CALIBRATED and wanted.numbers.weights.whole,
        "rounding={1.rounding} needs samples: it looks at what the layers meet",
        "rounding=nearest needs none",
    ),
    (
        lambda request, wanted: request.rounding is Rounding.AUTO and _fewest_bits(request, wanted) < ENOUGH_BITS,
        "weights of less than four bits need samples: without calibration nothing of the model is left",
        "precision=int4 needs none, nor does rounding=nearest, if that is really meant",
    ),
)


def need_of(request: Request) -> str | None:
    """Why the request, or one point of its sweep, needs samples, and what needs none; None where nothing does."""
    for one in (request, *(request.at(spot) for spot in request.spots)):
        wanted = one.quantization
        for needs, why, instead in _NEEDS if wanted is not None else ():
            if wanted is not None and needs(one, wanted):
                told = (wanted, one, _uncalibrated(one, wanted))
                return f"{why.format(*told)}. Send some (the dataset part, or samples=); {instead.format(*told)}."
    return None


def check_samples(request: Request, there: bool, notes: Sequence[str] = ()) -> None:
    """Raise SamplesMissing where the request needs samples and there are none; with what was noted of its files."""
    need = None if there else need_of(request)
    if need is not None:
        # Those of an earlier job, whose result stands for the files, were deleted when it ended.
        again = " Samples of the earlier job are not kept: send them again." if request.source_txid else ""
        noted = f" Noted while reading: {' '.join(notes)}" if notes else ""
        raise SamplesMissing(f"{need}{again}{noted}", field="dataset")
