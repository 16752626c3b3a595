"""Make torchvision work beside a torch that its compiled part was not built for.

The wheel of the public index is built for CUDA; beside a CPU build of torch its compiled part does not load. The Python
part then fails on two operators that only the compiled part declares, and detectors find none of theirs. Both are made
up for here, the operators in plain torch. Self-contained: a process that may not import Coppice runs it as a script.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
#: The operators for which torchvision registers a Python part whether or not its compiled part is there.
_SCHEMAS = {"torchvision::nms": _NMS, "torchvision::qnms": _NMS}


@cache
def prepare_torchvision() -> None:
    """Import torchvision, adding what it misses; whatever else keeps it from importing is left to its user."""
    for operator, schema in _SCHEMAS.items():
        if _missing_operator() != operator:
            continue
        # A failed import leaves its submodules behind, which would be taken for whole ones.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        torch.library.define(operator, schema)
    if _missing_operator() is None and "torchvision" in sys.modules and not _extension()._has_ops():
        _provide()


def _missing_operator() -> str | None:
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None
    except RuntimeError as e:
        return next((operator for operator in _SCHEMAS if f"operator {operator} does not exist" in str(e)), None)
    return None


def _extension() -> Any:
    return importlib.import_module("torchvision.extension")


def _provide() -> None:
    """Register the kernels below, and let torchvision know that its operators are there."""
    for operator, (schema, kernel) in _KERNELS.items():
        if operator not in _SCHEMAS:
            torch.library.define(operator, schema)
        torch.library.impl(operator, "CompositeExplicitAutograd", kernel)
    # Where its name is bound; not `from torchvision.ops import roi_align`, which is the function.
    modules: tuple[Any, ...] = (_extension(), importlib.import_module("torchvision.ops.roi_align"))
    for module in modules:
        module._has_ops = lambda: True


def _nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The numbers of the boxes left when each, best first, removes those that it overlaps too much."""
    order = scores.argsort(descending=True, stable=True)
    corners = dets[order]
    low = torch.maximum(corners[:, None, :2], corners[:, :2])
    high = torch.minimum(corners[:, None, 2:], corners[:, 2:])
    common, area = (high - low).clamp(min=0).prod(-1), (corners[:, 2:] - corners[:, :2]).prod(-1)
    overlaps = (common > iou_threshold * (area[:, None] + area - common)).tolist()
    kept: list[int] = []
    for number, of_this in enumerate(overlaps):
        if not any(of_this[better] for better in kept):
            kept.append(number)
    return order[kept]


def _roi_align(
    input: Tensor,  # noqa: A002 - the schema's name
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Means of bilinear samples, which are separable: a matrix of weights along each of the two axes, for each box."""
    windows = []
    for number, *box in rois.tolist():
        left, top, right, bottom = (edge * spatial_scale - (0.5 if aligned else 0.0) for edge in box)
        smallest = -float("inf") if aligned else 1.0
        down = _weights(top, max(bottom - top, smallest), pooled_height, input.shape[2], sampling_ratio)
        across = _weights(left, max(right - left, smallest), pooled_width, input.shape[3], sampling_ratio)
        windows.append(down.to(input) @ input[int(number)] @ across.to(input).T)
    return torch.stack(windows) if windows else input.new_zeros(0, input.shape[1], pooled_height, pooled_width)


def _weights(start: float, length: float, bins: int, size: int, sampling_ratio: int) -> Tensor:
    """How much each position of an axis counts for each bin: `(bins, size)`."""
    width = length / bins
    samples = sampling_ratio if sampling_ratio > 0 else max(-int(-width // 1), 0)
    places = start + width * (torch.arange(bins * samples, dtype=torch.float64) + 0.5) / max(samples, 1)
    inside = (places >= -1) & (places <= size)
    distances = (places.clamp(0, size - 1)[:, None] - torch.arange(size)).abs()
    weights = (1 - distances).clamp(min=0) * inside[:, None]
    return weights.reshape(bins, samples, size).sum(1) / max(samples, 1)


def _deform_conv2d(
    input: Tensor,  # noqa: A002 - the schema's name
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """Sample the input where each tap of the kernel looks, then multiply as any convolution does."""
    batch, channels, height, width = input.shape
    filters, _, rows, columns = weight.shape
    down, across = offset.shape[2:]
    shifts = offset.reshape(batch * offset_groups, rows, columns, 2, down, across)
    y = (torch.arange(down) * stride_h - pad_h)[:, None] + (torch.arange(rows) * dilation_h)[:, None, None, None]
    x = torch.arange(across) * stride_w - pad_w + (torch.arange(columns) * dilation_w)[:, None, None]
    # grid_sample counts from -1 to 1 across the whole image, and reads zeros beside it.
    grid = torch.stack(
        [(2 * (x + shifts[:, :, :, 1]) + 1) / width - 1, (2 * (y + shifts[:, :, :, 0]) + 1) / height - 1], -1
    )
    sampled = torch.nn.functional.grid_sample(
        input.reshape(batch * offset_groups, -1, height, width), grid.flatten(1, 3), align_corners=False
    )
    if use_mask:
        sampled = sampled * mask.reshape(batch * offset_groups, 1, -1, across)
    taps = sampled.reshape(batch, groups, channels // groups * rows * columns, down * across)
    summed = weight.reshape(groups, filters // groups, -1) @ taps
    return summed.reshape(batch, filters, down, across) + bias[:, None, None]


_ROI_ALIGN = (
    "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
_DEFORM_CONV2D = (
    "(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, "
    "SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, "
    "bool use_mask) -> Tensor"
)
#: The operators that detectors need: schema and kernel.
_KERNELS: dict[str, tuple[str, Callable[..., Tensor]]] = {
    "torchvision::nms": (_NMS, _nms),
    "torchvision::roi_align": (_ROI_ALIGN, _roi_align),
    "torchvision::deform_conv2d": (_DEFORM_CONV2D, _deform_conv2d),
}
