"""One point of a sweep as it was asked for: how much goes, and in which precision what is left is kept."""

from __future__ import annotations

from dataclasses import dataclass

from coppice.records.quantization import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A ratio and a precision; `float32` is what is not quantized."""

    percent: float
    precision: Precision

    @property
    def quantized(self) -> bool:
        """Whether it has fewer bits than it came with."""
        return self.precision is not Precision.FLOAT32

    @property
    def in_floats(self) -> Spot:
        """The same ratio, not quantized."""
        return Spot(percent=self.percent, precision=Precision.FLOAT32)

    @property
    def label(self) -> str:
        """What its artifacts are called by: `40` of 0.4, `12_5` of 0.125, `40_int8` of 0.4 in int8."""
        removed = f"{round(self.percent * 100, 2):g}".replace(".", "_")
        return f"{removed}_{self.precision}" if self.quantized else removed

    @property
    def name(self) -> str:
        """What people call it: `0.4`, `0.4 int8`."""
        return f"{self.percent:g} {self.precision}" if self.quantized else f"{self.percent:g}"


#: The model as it was sent.
WHOLE = Spot(percent=0.0, precision=Precision.FLOAT32)
