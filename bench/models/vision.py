"""Every model of torchvision: classification, segmentation, detection, video, optical flow.

Pictures are as small as the model takes, since what is cut does not depend on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.models.entry import BATCH, Entry, Inputs, floats
from coppice.formats.pytorch.torchvision_import import prepare_torchvision


class Pictures(nn.Module):
    """A detector on one tensor of pictures: torchvision's takes a list."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.detector(list(pictures))


#: Detectors find something in noise, too, and little enough to be quick.
_TWO_STAGES = {
    "min_size": 96,
    "max_size": 96,
    "rpn_pre_nms_top_n_test": 100,
    "rpn_post_nms_top_n_test": 20,
    "box_score_thresh": 0.0,
    "box_nms_thresh": 1.0,
    "box_detections_per_img": 10,
}
_ONE_STAGE = {"score_thresh": 0.0, "nms_thresh": 1.0, "detections_per_img": 10, "topk_candidates": 20}
#: What boxes are divided by: with numbers drawn by chance they would all lie outside of the picture.
_NEAR = (1e6,) * 4
_RESIZING = {"min_size": 96, "max_size": 96}

#: Name, as a pattern -> family, shapes of one sample, arguments of the builder. The first that fits counts.
_KINDS: tuple[tuple[str, str, tuple[tuple[int, ...], ...], dict[str, Any]], ...] = (
    (r"(fasterrcnn|maskrcnn|keypointrcnn).*", "detection", ((3, 96, 96),), _TWO_STAGES),
    (r"(retinanet|fcos).*", "detection", ((3, 96, 96),), {**_ONE_STAGE, **_RESIZING}),
    (r"ssd.*", "detection", ((3, 96, 96),), _ONE_STAGE),
    (r"(deeplabv3|fcn|lraspp).*", "segmentation", ((3, 64, 64),), {}),
    (r"raft.*", "optical flow", ((3, 128, 128), (3, 128, 128)), {}),
    (r"mvit.*", "video", ((3, 16, 224, 224),), {}),
    (r"s3d", "video", ((3, 16, 224, 224),), {}),
    (r"(swin3d|r3d|mc3|r2plus1d).*", "video", ((3, 8, 64, 64),), {}),
    (r"vit_h_14", "classification", ((3, 56, 56),), {"image_size": 56}),
    (r"vit.*", "classification", ((3, 64, 64),), {"image_size": 64}),
    (r"maxvit.*", "classification", ((3, 224, 224),), {}),
    (r"googlenet", "classification", ((3, 96, 96),), {"init_weights": False}),
    (r"inception_v3", "classification", ((3, 299, 299),), {"init_weights": False}),
    (r".*", "classification", ((3, 64, 64),), {}),
)


def entries() -> Iterator[Entry]:
    """One entry for each name that torchvision lists, but for the quantised ones, which are the same models."""
    prepare_torchvision()
    from torchvision import models

    for name in models.list_models():
        if not name.startswith("quantized_"):
            _, family, shapes, arguments = next(kind for kind in _KINDS if re.fullmatch(kind[0], name))
            yield Entry(
                name=f"torchvision/{name}",
                family=f"torchvision {family}",
                build=partial(_build, name, family, arguments),
                inputs=_inputs(family, shapes),
            )


def _build(name: str, family: str, arguments: dict[str, Any]) -> nn.Module:
    from torchvision import models

    if family in ("detection", "segmentation"):
        arguments = {**arguments, "weights_backbone": None}
    model: nn.Module = models.get_model(name, weights=None, **arguments)
    if family != "detection":
        return model
    for part in model.modules():
        coder: Any = getattr(part, "box_coder", None)
        if hasattr(coder, "weights"):
            coder.weights = _NEAR
    return Pictures(model)


def _inputs(family: str, shapes: tuple[tuple[int, ...], ...]) -> Callable[[], Inputs]:
    return floats(*shapes, batch=1 if family in ("optical flow", "video") else BATCH)
