"""Normalisations, in the operators of torch whose channels the rules know."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator

#: From this version on a group norm scales channels; before, it scaled groups.
_SCALES_CHANNELS = 21


@operator("BatchNormalization")
def batch_norm(node: OnnxNode, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """With the stored statistics; a file that was exported in training mode is refused."""
    if node.attribute("training_mode", 0) or node.wanted > 1:
        raise UnsupportedLayer(
            f"node {node.layer_name!r} (BatchNormalization) is in training mode. Export the model for inference: "
            "model.eval() before torch.onnx.export.",
            field=node.layer_name,
        )
    return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, node.attribute("epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_norm(node: OnnxNode, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Every channel of every sample by its own statistics, so that channels don't meet."""
    axes = list(range(2, x.dim()))
    centred = x - x.mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    scaled = centred * torch.rsqrt(variance + node.attribute("epsilon", 1e-5))
    return scaled * _along_channels(scale, x) + _along_channels(shift, x)


@operator("LayerNormalization")
def layer_norm(node: OnnxNode, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Any:
    """Over the last axes, from `axis` on."""
    axis, epsilon = node.attribute("axis", -1) % x.dim(), node.attribute("epsilon", 1e-5)
    result = F.layer_norm(x, list(x.shape[axis:]), scale, shift, epsilon)
    if node.wanted == 1:
        return result
    axes = list(range(axis, x.dim()))
    mean = x.mean(axes, keepdim=True)
    deviation = torch.rsqrt(((x - mean) ** 2).mean(axes, keepdim=True) + epsilon)
    return (result, mean, deviation)[: node.wanted]


@operator("RMSNormalization")
def rms_norm(node: OnnxNode, x: Tensor, scale: Tensor | None = None) -> Tensor:
    """By the root of the mean square, over the last axes from `axis` on."""
    axis = node.attribute("axis", -1) % x.dim()
    return F.rms_norm(x, list(x.shape[axis:]), scale, node.attribute("epsilon", 1e-5))


@operator("GroupNormalization")
def group_norm(node: OnnxNode, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """By the statistics of groups of channels."""
    groups, epsilon = node.attribute("num_groups"), node.attribute("epsilon", 1e-5)
    if node.version >= _SCALES_CHANNELS:
        return F.group_norm(x, groups, scale, shift, epsilon)
    each = x.shape[1] // groups
    return F.group_norm(x, groups, scale.repeat_interleave(each), shift.repeat_interleave(each), epsilon)


@operator("LRN")
def local_response(node: OnnxNode, x: Tensor) -> Tensor:
    """By the squares of the neighbouring channels."""
    size = node.attribute("size")
    bias, alpha, beta = node.attribute("bias", 1.0), node.attribute("alpha", 1e-4), node.attribute("beta", 0.75)
    squares = (x * x).flatten(2).movedim(1, -1)
    around = F.pad(squares, [(size - 1) // 2, math.ceil((size - 1) / 2)])
    sums = around.unfold(-1, size, 1).sum(-1).movedim(-1, 1).reshape(x.shape)
    return x / torch.pow(bias + alpha / size * sums, beta)


@operator("LpNormalization")
def lp_norm(node: OnnxNode, x: Tensor) -> Tensor:
    """To a p-norm of one along an axis."""
    axis, p = node.attribute("axis", -1), node.attribute("p", 2)
    norm = x.abs().sum(axis, keepdim=True) if p == 1 else (x * x).sum(axis, keepdim=True).sqrt()
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


@operator("MeanVarianceNormalization")
def mean_variance(node: OnnxNode, x: Tensor) -> Tensor:
    """To mean zero and variance one over some axes."""
    axes = list(node.attribute("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)


def _along_channels(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape(-1, *[1] * (x.dim() - 2))
