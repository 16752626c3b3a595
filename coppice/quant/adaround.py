"""AdaRound: up or down, learnt by gradient descent (Nagel et al., Up or Down? Adaptive Rounding for Post-Training
Quantization, ICML 2020, section 3.2, equations 21 to 24; arXiv 2004.10568).

What is learnt is h(V), the part of a step by which each number goes beyond the one below it on the grid: a rectified
sigmoid, which a regularizer drives to 0 or 1. The error is that of the layer's outputs, as there. It needs the inputs
by their Gram matrix only, so that a step costs the same for any number of samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse

#: Steps of Adam (Kingma and Ba 2015, algorithm 1), how far each goes, and what of the last means stays at each.
STEPS, RATE, DECAYS = 1_000, 2e-2, (0.9, 0.999)
#: The part of the steps before the regularizer sets in, its weight, and its exponent at first and at last.
WARM, WEIGHT, BLUNT, SHARP = 0.2, 10.0, 20.0, 2.0
#: The sigmoid is stretched from here to there, then cut at 0 and 1 (zeta and gamma in the paper).
BELOW, ABOVE = -0.1, 1.1


def adaround(start: Coarse, matrix: Tensor, gram: Tensor, grid: Grid) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid, by the scales of `start`, which is what to beat."""
    wanted, most = matrix / start.scale, 2 * grid.largest // grid.step
    placed = ((wanted + grid.largest) / grid.step).clamp(0, most)
    floor = placed.floor().clamp(max=most - 1)
    learnt = torch.logit(((placed - floor).clamp(0.01, 0.99) - BELOW) / (ABOVE - BELOW))
    before = _error(start.codes - wanted, gram, start.scale)
    least = before.sum().clamp(min=torch.finfo(torch.float32).tiny)
    mean, square = torch.zeros_like(learnt), torch.zeros_like(learnt)
    for step in range(STEPS):
        stretched = learnt.sigmoid() * (ABOVE - BELOW) + BELOW
        up = stretched.clamp(0, 1)
        error = (floor + up) * grid.step - grid.largest - wanted
        # The derivatives are written out: within a pass that is watched torch keeps no account of them.
        slope = 2 * grid.step * (gram @ error) * start.scale.square() / least
        done = (step / STEPS - WARM) / (1 - WARM)
        if done > 0:
            sharp = SHARP + (BLUNT - SHARP) * (1 - done)
            apart = 2 * up - 1
            slope -= 2 * WEIGHT / up.numel() * sharp * apart.abs().pow(sharp - 1) * apart.sign()
        slope *= torch.where(stretched == up, (stretched - BELOW) * (ABOVE - stretched) / (ABOVE - BELOW), 0.0)
        mean.lerp_(slope, 1 - DECAYS[0])
        square.lerp_(slope.square(), 1 - DECAYS[1])
        unbiased = (square / (1 - DECAYS[1] ** (step + 1))).sqrt() + torch.finfo(torch.float32).tiny
        learnt -= RATE * mean / (1 - DECAYS[0] ** (step + 1)) / unbiased
    up = (learnt.sigmoid() * (ABOVE - BELOW) + BELOW).clamp(0, 1).round()
    codes = (floor + up) * grid.step - grid.largest
    wins = _error(codes - wanted, gram, start.scale) < before
    return Coarse(codes=torch.where(wins, codes, start.codes), scale=start.scale)


def _error(error: Tensor, gram: Tensor, scale: Tensor) -> Tensor:
    """Of each output's codes; shape (groups, 1, outputs)."""
    return (error * (gram @ error)).sum(1, keepdim=True) * scale.square()
