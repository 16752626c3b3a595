"""Pooling, resizing, padding, sampling: the spatial axes change, the ones before them pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from coppice.channels import FIXED, Axes
from coppice.tracing.call import Call, Rule, fixed


def spatial(rank: int) -> Rule:
    """The last `rank` axes are spatial: nothing of them may be removed, but where the window is a single position."""

    def rule(call: Call) -> Sequence[Axes]:
        (x,) = [call.labels(tensor) for tensor in list(call.tensors())[:1]]
        places = list(fixed(call.outputs[0].shape[-rank:]))
        for number, labels in enumerate(x[-rank:]):
            if not _untouched(call, number):
                call.ledger.fix(labels, "spatial axis of a pooling or resizing")
                continue
            places[number] = labels
            for numbers in call.outputs[1:]:  # the place of a maximum in the whole image
                call.when_read(numbers, labels, "the positions of the largest values are read")
        return [(*x[:-rank], *places), *((*x[:-rank], *fixed(output.shape[-rank:])) for output in call.outputs[1:])]

    return rule


def _untouched(call: Call, number: int) -> bool:
    """Whether a pooling window is one position wide along this axis, and moves by one."""

    def of(name: str, default: Sequence[int]) -> int:
        given = call.arguments.get(name) or default
        return int(given[number if len(given) > 1 else 0])

    window = call.arguments.get("kernel_size")
    return window is not None and of("kernel_size", window) == of("stride", window) == 1 and not of("padding", [0])


def unpooled(rank: int) -> Rule:
    """max_unpool: the values and the places that they go to are one channel; a place counts positions of an image."""

    def rule(call: Call) -> Sequence[Axes]:
        x, places = call.axes("self"), call.axes("indices")
        for labels in (*x[-rank:], *places[-rank:]):
            call.ledger.fix(labels, "spatial axis of a pooling or resizing")
        before = tuple(call.ledger.tie(one, other) for one, other in zip(x[:-rank], places[:-rank], strict=True))
        return [(*before, *fixed(call.outputs[0].shape[-rank:]))]

    return rule


def padded(call: Call) -> Sequence[Axes]:
    """constant_pad_nd: what is added stays, what was there keeps its labels."""
    axes, pad = list(call.axes("self")), call["pad"]
    for number in range(len(pad) // 2):
        before, after = pad[2 * number], pad[2 * number + 1]
        labels = axes[-1 - number]
        kept = labels[max(-before, 0) : labels.size - max(-after, 0)]
        axes[-1 - number] = np.pad(kept, (max(before, 0), max(after, 0)), constant_values=FIXED)
    return [tuple(axes)]


def sampled(call: Call) -> Sequence[Axes]:
    """grid_sampler: every channel is read at the places that the grid names."""
    x, grid = call.axes("input"), call.axes("grid")
    for labels in (*x[2:], *grid[1:]):
        call.ledger.fix(labels, "places that a grid names")
    call.ledger.tie(x[0], grid[0])
    return [(x[0], x[1], *fixed(call.outputs[0].shape[2:]))]


def folded(call: Call) -> Sequence[Axes]:
    """col2im (fold): channel c of the image is made of the positions c * k to c * k + k of the columns."""
    *batch, columns, places = call.axes("self")
    by_channel = columns.reshape(-1, math.prod(call["kernel_size"]))
    for other in by_channel.T[1:]:
        call.ledger.tie(by_channel.T[0], other)
    call.ledger.fix(places, "places of an image")
    return [(*batch, by_channel.T[0].copy(), *fixed(call.outputs[0].shape[-2:]))]


def transformed(call: Call) -> Sequence[Axes]:
    """Fourier transforms: the axes transformed are fixed, the others pass."""
    axes = list(call.axes("self"))
    for dim in call["dim"]:
        call.ledger.fix(axes[dim], "transformed along this axis")
        axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    return [tuple(axes)]


def of_boxes(call: Call) -> Sequence[Axes]:
    """roi_align, roi_pool: windows of the image for each box, the channels as they are."""
    x = call.axes("input")
    for labels in (x[0], *x[2:], *call.axes("rois")):
        call.ledger.fix(labels, "boxes of an image")
    windows, *rest = call.outputs
    passing = (*fixed(windows.shape[:1]), x[1], *fixed(windows.shape[2:]))
    return [passing, *(passing for _ in rest)]  # the second output of roi_pool says where the maxima lie


def averaged(rank: int) -> Rule:
    """avg_pool: as all pooling, but a window of odd or even width that slides along channels mixes them."""
    pooled = spatial(rank)

    def rule(call: Call) -> Sequence[Axes]:
        axes = call.axes("self")
        kernel, shape = call["kernel_size"], call.outputs[0].shape
        along = [place for place in range(-rank, 0) if axes[place].any()]
        if len(along) != 1 or any(call["padding"]) or set(call["stride"]) != {1}:
            return pooled(call)
        (place,) = along
        centre = axes[place][kernel[place] // 2 :][: shape[place]]
        if np.count_nonzero(centre) < np.count_nonzero(axes[place]):
            return pooled(call)
        call.ledger.mixes(centre, f"a mean runs along these channels ({call.ledger.where})")
        return [tuple(centre if axis == len(axes) + place else labels for axis, labels in enumerate(axes))]

    return rule


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten::grid_sampler_2d", "aten::grid_sampler_3d"), sampled),
    **dict.fromkeys(("aten::_fft_c2c", "aten::_fft_c2r", "aten::_fft_r2c"), transformed),
    "aten::col2im": folded,
    **dict.fromkeys(("torchvision::roi_align", "torchvision::roi_pool"), of_boxes),
    "aten::avg_pool2d": averaged(2),
    "aten::avg_pool3d": averaged(3),
    "aten::constant_pad_nd": padded,
    "aten::max_unpool2d": unpooled(2),
    "aten::max_unpool3d": unpooled(3),
    **dict.fromkeys(
        (
            "aten::adaptive_avg_pool1d",
            "aten::adaptive_max_pool1d",
            "aten::avg_pool1d",
            "aten::max_pool1d",
            "aten::reflection_pad1d",
            "aten::replication_pad1d",
            "aten::upsample_linear1d",
            "aten::upsample_nearest1d",
            "aten::_upsample_nearest_exact1d",
        ),
        spatial(1),
    ),
    **dict.fromkeys(
        (
            "aten::_adaptive_avg_pool2d",
            "aten::_upsample_bicubic2d_aa",
            "aten::_upsample_bilinear2d_aa",
            "aten::_upsample_nearest_exact2d",
            "aten::adaptive_max_pool2d",
            "aten::fractional_max_pool2d",
            "aten::max_pool2d_with_indices",
            "aten::reflection_pad2d",
            "aten::replication_pad2d",
            "aten::upsample_bicubic2d",
            "aten::upsample_bilinear2d",
            "aten::upsample_nearest2d",
        ),
        spatial(2),
    ),
    **dict.fromkeys(
        (
            "aten::_adaptive_avg_pool3d",
            "aten::_upsample_nearest_exact3d",
            "aten::adaptive_max_pool3d",
            "aten::max_pool3d_with_indices",
            "aten::reflection_pad3d",
            "aten::replication_pad3d",
            "aten::upsample_nearest3d",
            "aten::upsample_trilinear3d",
        ),
        spatial(3),
    ),
}
