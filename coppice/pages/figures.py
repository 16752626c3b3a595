"""Figures as the pages write them: costs before and after, and how good a model is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coppice.records.figures import significant
from coppice.records.report import Fidelity, Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One cost before and after."""

    label: str
    before: str
    after: str
    left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure of a fidelity."""

    label: str
    value: Callable[[Fidelity], float | None]
    bar: bool  # a share of something

    def of(self, fidelity: Fidelity) -> str:
        """As text."""
        value = self.value(fidelity)
        if value is None:
            return "not numbers"
        return f"{value:.1%}" if self.bar else significant(value)


_COLUMNS = (
    Column(label="accuracy", value=lambda fidelity: fidelity.accuracy, bar=True),
    Column(label="agreement", value=lambda fidelity: fidelity.agreement, bar=True),
    Column(label="error", value=lambda fidelity: fidelity.error, bar=False),
    Column(label="distance", value=lambda fidelity: fidelity.distance, bar=False),
)


def columns_of(quality: Quality) -> list[Column]:
    """The figures that the original has; a distance it always has."""
    return [column for column in _COLUMNS if column.value(quality.before) is not None or column is _COLUMNS[-1]]


def time_of(median: float, spread: float | None) -> str:
    """A median, and the range of the middle half."""
    return significant(median) + ("" if spread is None else f" (range {significant(spread, 2)})")
