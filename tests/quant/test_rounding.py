"""Every way to round a matrix, held to brute force, to the paper's own algorithm, and to each other."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from coppice.quant import GRIDS, Grid
from coppice.quant.adaround import adaround
from coppice.quant.calibrated import calibrated, missed
from coppice.quant.clipped import clipped
from coppice.quant.descent import descended
from coppice.quant.gptq import factored, gptq
from coppice.quant.matrices import Coarse, onto
from coppice.quant.nearest import nearest

BITS = tuple(GRIDS)


def numbers(grid: Grid) -> Tensor:
    return torch.arange(-grid.largest, grid.largest + 1, grid.step).float()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(groups: int, features: int, seed: int = 1) -> Tensor:
    """The Gram matrices of inputs that depend on each other, float64."""
    inputs = drawn(groups, 4 * features, features, seed=seed) @ drawn(groups, features, features, seed=seed + 1)
    return (inputs.mT @ inputs).double() + 0.5 * torch.eye(features, dtype=torch.float64)


def within(coarse: Coarse, grid: Grid) -> bool:
    return bool(torch.isin(coarse.codes, numbers(grid)).all()) and bool((coarse.scale > 0).all())


@pytest.mark.parametrize("bits", BITS)
def test_nearest_takes_the_nearest_number_there_is(bits: int) -> None:
    grid, matrix = GRIDS[bits], drawn(2, 30, 4)

    coarse = nearest(matrix, grid)

    assert torch.allclose(coarse.scale, matrix.abs().amax(1, keepdim=True) / grid.largest)
    distances = (matrix[..., None] - numbers(grid) * coarse.scale[..., None]).abs()
    assert torch.allclose((matrix - coarse.values).abs(), distances.amin(-1))
    assert within(coarse, grid)


@pytest.mark.parametrize("bits", BITS)
def test_clipping_is_near_the_best_of_a_thousand_scales(bits: int) -> None:
    grid, matrix = GRIDS[bits], drawn(1, 40, 6)

    found = (clipped(matrix, grid).values - matrix).square().sum(1)

    whole = matrix.abs().amax(1, keepdim=True) / grid.largest
    tried = [
        (onto(matrix, whole * part, grid).values - matrix).square().sum(1) for part in torch.linspace(0.05, 1, 1000)
    ]
    assert (found <= torch.stack(tried).amin(0) * 1.25).all()


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    matrix = drawn(1, 50, 3)

    coarse = clipped(matrix, GRIDS[1])

    assert torch.allclose(coarse.values, matrix.sign() * matrix.abs().mean(1, keepdim=True), atol=1e-6)


def as_in_the_paper(weights: Tensor, gram: Tensor, scale: float, grid: Grid, order: Tensor) -> Tensor:
    """GPTQ's algorithm 1 for one output, with the inverse of the Gram matrix, without blocks."""
    left = weights.double()[order].clone()
    inverse = torch.linalg.inv(gram[order][:, order])
    upper = torch.linalg.cholesky(inverse, upper=True)
    rounded = torch.empty_like(left)
    for place in range(len(left)):
        rounded[place] = grid.nearest(left[place] / scale) * scale
        error = (left[place] - rounded[place]) / upper[place, place]
        left[place:] -= error * upper[place, place:]
    return torch.empty_like(rounded).scatter_(0, order, rounded)


@pytest.mark.parametrize("bits", BITS)
def test_gptq_is_the_algorithm_of_the_paper(bits: int) -> None:
    grid, matrix, gram = GRIDS[bits], drawn(2, 75, 3).double(), correlated(2, 75)  # more features than a block
    scale = clipped(matrix, grid).scale

    coarse = gptq(matrix, scale, factored(gram), grid)

    for group, output in product(range(2), range(3)):
        order = gram[group].diagonal().argsort(descending=True)
        wanted = as_in_the_paper(matrix[group, :, output], gram[group], scale[group, 0, output].item(), grid, order)
        assert torch.allclose(coarse.values[group, :, output], wanted, atol=1e-9)


@pytest.mark.parametrize("bits", BITS)
def test_what_looks_at_the_inputs_misses_less_than_what_does_not(bits: int) -> None:
    grid, matrix, gram = GRIDS[bits], drawn(3, 40, 8), correlated(3, 40)
    flat = gram.float()
    triangle = factored(gram)

    alone = missed(clipped(matrix, grid), matrix, flat)
    paper = missed(gptq(matrix, clipped(matrix, grid).scale, triangle, grid), matrix, flat)
    ours = calibrated(matrix, flat, triangle, grid)
    learnt = adaround(ours, matrix, flat, grid)

    assert paper.sum() < alone.sum()
    assert (missed(ours, matrix, flat) <= paper * 1.0001).all()
    assert (missed(learnt, matrix, flat) <= missed(ours, matrix, flat) * 1.0001).all()
    assert within(ours, grid)
    assert within(learnt, grid)


def test_adaround_finds_what_all_ways_up_and_down_hold() -> None:
    """Of eight weights on a fine grid, the best of the 256 ways to round each up or down."""
    grid, matrix, gram = GRIDS[4], drawn(1, 8, 1), correlated(1, 8).float()
    start = nearest(matrix, grid)
    floor = (matrix / start.scale).floor()
    ways = [
        missed(Coarse(codes=floor + torch.tensor(way).reshape(1, 8, 1), scale=start.scale), matrix, gram).item()
        for way in product((0.0, 1.0), repeat=8)
    ]

    found = missed(adaround(start, matrix, gram, grid), matrix, gram).item()

    assert found <= sorted(ways)[5]
    assert found < missed(start, matrix, gram).item()


def test_descent_never_loses() -> None:
    grid, matrix, gram = GRIDS[2], drawn(2, 40, 5), correlated(2, 40).float()
    start = clipped(matrix, grid)
    errors = [missed(descended(start, matrix, gram, grid, turns), matrix, gram) for turns in range(4)]

    assert torch.allclose(errors[0], missed(start, matrix, gram))
    for before, after in pairwise(errors):
        assert (after <= before * 1.0001).all()
    assert errors[-1].sum() < errors[0].sum()


def test_descent_ends_where_no_single_code_could_be_better() -> None:
    grid, matrix, gram = GRIDS[2], drawn(1, 10, 1), correlated(1, 10).float()

    found = descended(clipped(matrix, grid), matrix, gram, grid, 50)

    least = missed(found, matrix, gram).item()
    for place, code in product(range(10), numbers(grid)):
        codes = found.codes.clone()
        codes[0, place, 0] = code
        assert missed(Coarse(codes=codes, scale=found.scale), matrix, gram).item() >= least * 0.9999


def test_an_output_without_weights_stays_nothing() -> None:
    matrix = drawn(1, 12, 2)
    matrix[..., 1] = 0

    for bits in BITS:
        assert nearest(matrix, GRIDS[bits]).values[..., 1].abs().max() < 1e-30
        assert clipped(matrix, GRIDS[bits]).values.isfinite().all()
