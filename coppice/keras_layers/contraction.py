"""Products of a tensor with a kernel of several axes, as `einsum` writes them, one plain product at a time.

An `einsum` over two kernel axes at once would merge them into one, and channels of merged axes can't be told apart.
So axes beyond the first are taken one position at a time: they stay, and the widest one can be cut.
"""

from __future__ import annotations

import torch
from torch import Tensor


class NoPlainProduct(ValueError):
    """The equation says something else than a product of a tensor and a kernel."""


def parse(equation: str, rank: int) -> tuple[str, str, str]:
    """Letters of input, kernel and result; an ellipsis stands for the axes of the input that have no letter.

    >>> parse("...x,xy->...y", 3)
    ('01x', 'xy', '01y')
    """
    operands, _, result = equation.replace(" ", "").partition("->")
    first, _, kernel = operands.partition(",")
    if not result or "," in kernel or "." in kernel:
        raise NoPlainProduct(f"its equation {equation!r} is no product of a tensor and a kernel")
    spread = "".join(str(axis) for axis in range(rank - len(first.replace("...", ""))))
    return first.replace("...", spread), kernel, result.replace("...", spread)


def contracted(x: Tensor, kernel: Tensor, letters: tuple[str, str, str]) -> Tensor:
    """The product of `x` and `kernel` with axes lettered as `parse` gives them."""
    first, second, result = letters
    if any(axis in first and axis in result for axis in second):
        numbered = {letter: number for number, letter in enumerate(dict.fromkeys(first + second))}
        sublists = ([numbered[letter] for letter in part] for part in letters)
        return torch.einsum(x, next(sublists), kernel, next(sublists), next(sublists))
    summed, made = [axis for axis in second if axis in first], [axis for axis in second if axis not in first]
    if len(made) > 1:
        axis = _narrowest(kernel, second, made)
        rest = (first, second.replace(axis, ""), result.replace(axis, ""))
        pieces = [contracted(x, piece, rest) for piece in kernel.unbind(second.index(axis))]
        return torch.stack(pieces, dim=result.index(axis))
    if len(summed) > 1:
        axis = _narrowest(kernel, second, summed)
        rest = (first.replace(axis, ""), second.replace(axis, ""), result)
        pairs = zip(x.unbind(first.index(axis)), kernel.unbind(second.index(axis)), strict=True)
        return torch.stack([contracted(part, piece, rest) for part, piece in pairs]).sum(dim=0)
    return _product(x, kernel, letters, summed, made)


def _narrowest(kernel: Tensor, letters: str, among: list[str]) -> str:
    return min(among, key=lambda axis: kernel.shape[letters.index(axis)])


def _product(x: Tensor, kernel: Tensor, letters: tuple[str, str, str], summed: list[str], made: list[str]) -> Tensor:
    """One axis summed, at most one made."""
    first, second, result = letters
    if len(summed) != 1 or len(made) != 1:
        raise NoPlainProduct(f"its product {first},{second}->{result} sums {len(summed)} axes and makes {len(made)}")
    matrix = kernel if second == f"{summed[0]}{made[0]}" else kernel.t()
    y = x.movedim(first.index(summed[0]), -1) @ matrix
    order = first.replace(summed[0], "") + made[0]
    return y if order == result else y.permute([order.index(axis) for axis in result])
