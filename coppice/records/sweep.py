"""The curve of a sweep: how good a model is by how small it is, a point for each ratio and each precision.

A point is *on the front* of a cost where no other point is as cheap and as good, and cheaper or better. It is *optimal*
where no other point is as good and as cheap in every cost, and better or cheaper in one. The model as it was sent is a
point, too.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from coppice.records.quantization import Format, Precision
from coppice.records.report import Account, Arithmetic, Cost, Distance, Failure, Fidelity, Machine, Verification
from coppice.records.request import Record
from coppice.records.spot import Spot


class Axis(StrEnum):
    """A cost that is held against quality."""

    PARAMETERS = "parameters"
    MACS = "macs"
    BYTES = "bytes"  # of the numbers that are stored
    FILE = "file"  # bytes of the file that is given back, where some are quantized
    LATENCY = "latency"


class Merit(StrEnum):
    """The figure of `Fidelity` that is the quality of a curve: the first that the samples give."""

    ACCURACY = "accuracy"
    ERROR = "error"  # less is better
    AGREEMENT = "agreement"
    DISTANCE = "distance"  # less is better


class SmallFile(Record):
    """The quantized file of a point."""

    output_format: Format
    runtime: str = Field(description="that ran the file, and its version")
    arithmetic: Arithmetic = Field(description="integer, mixed or float: what the runtime computes products in")
    file_bytes: int
    float_file_bytes: int = Field(description="of the model that was quantized, in the same kind of file")
    snr_db: float | None = Field(
        default=None, description="signal to noise of its outputs, those of the model that was quantized being signal"
    )
    latency: float | None = Field(
        default=None, description="its time for one sample, as a share of the floats' in the same runtime"
    )


class Point(Record):
    """One ratio in one precision: the model that came of it, or why none did."""

    percent: float = Field(ge=0, lt=1, description="as asked; 0 is the model as it was sent")
    precision: Precision = Field(default=Precision.FLOAT32, description="of the weights; float32 is not quantized")
    cost: Cost | None = Field(default=None, description="of the model in floats")
    quantized: SmallFile | None = None
    shares: dict[Axis, float] = Field(
        default_factory=dict,
        description="what is left of each cost of the original; of latency by runs in pairs, so that whatever slows "
        "the machine slows both; of a quantized file, the share of the cut times that of the file in its runtime",
    )
    fidelity: Fidelity | None = Field(
        default=None, description="of the model that is given back; of a quantized file, in its runtime"
    )
    cut: Fidelity | None = Field(default=None, description="before its weights were repaired")
    verification: Verification | None = None
    front: tuple[Axis, ...] = Field(default=(), description="the costs on whose front the point is")
    optimal: bool = Field(default=False, description="whether no other point is better in all")
    artifacts: tuple[str, ...] = Field(default=(), description="names of the point's own artifacts")
    error: Failure | None = Field(default=None, description="why there is no model")

    @property
    def spot(self) -> Spot:
        """Where on the curve it is."""
        return Spot(percent=self.percent, precision=self.precision)


class Sweep(Account):
    """The whole account of a sweep; its summary is the table of its points, and each point has a report of its own."""

    points: tuple[Point, ...] = Field(description="the model as it was sent, then by ratio and precision")
    merit: Merit | None = Field(
        default=None, description="what quality is here; null where no samples were sent, and then no point is marked"
    )
    held_out: int | None = Field(default=None, description="samples that nothing was fitted to; quality is of them")
    distance: Distance | None = Field(default=None, description="what `distance` of a fidelity is")
    criterion: str | None = Field(default=None, description="what decided which channels go")
    machine: Machine | None = Field(default=None, description="that latency was measured on")
