"""torchvision's two compiled operators of detectors, in plain torch, for machines whose build lacks them."""

from __future__ import annotations

from importlib import import_module

import torch


def prepare() -> None:
    """Put the plain ones in place where the compiled ones are missing."""
    from torchvision import extension
    from torchvision.ops import boxes, poolers

    # Not `from torchvision.ops`, where the name is the function's.
    module = import_module("torchvision.ops.roi_align")

    if extension._has_ops():
        return

    def roi_align(  # the signature is torchvision's
        input: torch.Tensor,  # noqa: A002
        boxes: torch.Tensor | list[torch.Tensor],
        output_size: tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
    ) -> torch.Tensor:
        rois = boxes if isinstance(boxes, torch.Tensor) else module.convert_boxes_to_roi_format(boxes)
        found: torch.Tensor = module._roi_align(input, rois, spatial_scale, *output_size, sampling_ratio, aligned)
        return found

    boxes.nms = _nms
    poolers.roi_align = roi_align


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    from torchvision.ops import box_iou

    order = scores.argsort(descending=True, stable=True)
    overlap, kept = box_iou(boxes[order], boxes[order]) > iou_threshold, []
    gone = torch.zeros(len(order), dtype=torch.bool)
    for number in range(len(order)):
        if not gone[number]:
            kept.append(number)
            gone |= overlap[number]
    return order[torch.tensor(kept, dtype=torch.int64)]
