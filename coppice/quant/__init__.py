"""Number formats of few bits: grids of whole numbers, how weights are rounded onto them, and how they are packed."""

from coppice.quant.coded import Coded, QuantizedModel
from coppice.quant.grids import GRIDS, Grid

__all__ = ["GRIDS", "Coded", "Grid", "QuantizedModel"]
