"""Measured numbers as people read them, the same on every front."""

from __future__ import annotations


def significant(number: float, digits: int = 3) -> str:
    """So many digits that count; what is large is written out: 1,234 and not 1.23e+03."""
    return f"{number:,.0f}" if abs(number) >= 10**digits - 0.5 else f"{number:.{digits}g}"
