"""Pooling, resizing and reflecting: the spatial axes change, the ones before them pass."""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed


def spatial(rank: int) -> Rule:
    """The last `rank` axes are spatial: nothing of them may be removed."""

    def rule(call: Call) -> Sequence[Axes]:
        (x,) = [call.labels(tensor) for tensor in list(call.tensors())[:1]]
        for labels in x[-rank:]:
            call.ledger.fix(labels, "spatial axis of a pooling or resizing")
        return [(*x[:-rank], *fixed(output.shape[-rank:])) for output in call.outputs]

    return rule


def padded(call: Call) -> Sequence[Axes]:
    """constant_pad_nd: an axis that grows can't be cut; padding of spatial axes passes."""
    axes = list(call.axes("self"))
    shape = call.outputs[0].shape
    for axis, labels in enumerate(axes):
        amount = len(call["pad"]) // 2 - (len(axes) - 1 - axis)
        if amount > 0 and any(call["pad"][2 * (len(axes) - 1 - axis) : 2 * (len(axes) - axis)]):
            call.ledger.fix(labels, "padded along the channel axis")
            axes[axis] = fixed([shape[axis]])[0]
    return [tuple(axes)]


RULES: dict[str, Rule] = {
    "aten::constant_pad_nd": padded,
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
            "aten::avg_pool2d",
            "aten::fractional_max_pool2d",
            "aten::max_pool2d_with_indices",
            "aten::max_unpool2d",
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
            "aten::avg_pool3d",
            "aten::max_pool3d_with_indices",
            "aten::reflection_pad3d",
            "aten::replication_pad3d",
            "aten::upsample_nearest3d",
            "aten::upsample_trilinear3d",
        ),
        spatial(3),
    ),
}
