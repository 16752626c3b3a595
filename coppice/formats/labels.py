"""Labels that come with samples: numbers of classes, or targets of a regression, as the model's outputs decide.

What they can't be is said aloud, and they are not used: nothing is guessed about them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


def understood(labels: Tensor | None, outputs: Any, *, rows: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """The labels as `Samples` has them, held against what the model gives for `rows` samples, and notes."""
    if labels is None:
        return None, ()
    if not bool(labels.isfinite().all()):
        return None, (_unused("there are NaN or infinite numbers among them"),)
    shapes = _shapes(outputs, rows)
    classes = next((max(shape) for shape in shapes if shape.numel() == max(shape, default=1) > 1), None)
    single = any(shape.numel() == 1 for shape in shapes)
    numbers = _class_numbers(labels, classes)
    if numbers is not None and classes is None and single and bool(((numbers == 0) | (numbers == 1)).all()):
        return numbers, ()  # one output that says yes or no
    if numbers is not None and classes is not None:
        return _in_range(numbers, classes)
    if shapes and labels[0].numel() == shapes[0].numel():
        floats = labels if labels.is_floating_point() else labels.to(torch.get_default_dtype())
        return floats.reshape(len(labels), *shapes[0]), ()
    gives = ",".join(map(str, shapes[0])) if shapes else "nothing"
    shown = ",".join(map(str, labels.shape[1:])) or "()"
    return None, (
        _unused(
            f"for each sample they have the shape {shown} and the model gives {gives or '()'}, which makes them neither"
            " numbers of classes nor targets"
        ),
    )


def _shapes(outputs: Any, rows: int) -> list[torch.Size]:
    """What each output has for one sample: of those with fractions, and with a row for every sample."""
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return [leaf.shape[1:] for leaf in leaves if leaf.dim() and len(leaf) == rows]


def _class_numbers(labels: Tensor, classes: int | None) -> Tensor | None:
    """The labels as numbers, if they are whole numbers, one for each sample, or a one among zeros."""
    if labels.is_floating_point() and bool((labels != labels.round()).any()):
        return None
    if labels[0].numel() == 1:
        return labels.flatten().long()
    rows = labels.flatten(1).long()
    # A one among zeros; a sum alone would take 2, -1, 0.
    hot = rows.shape[1] == classes and bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
    return rows.argmax(1) if hot else None


def _in_range(numbers: Tensor, classes: int) -> tuple[Tensor | None, tuple[str, ...]]:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0:
        return None, (_unused(f"{int((numbers < 0).sum())} of {len(numbers)} are negative, which no class is"),)
    if high >= classes:
        return None, (_unused(f"there are classes up to {high}, and the model tells {classes} apart, from 0"),)
    return numbers, ()


def _unused(why: str) -> str:
    return f"The labels are not used: {why}."
