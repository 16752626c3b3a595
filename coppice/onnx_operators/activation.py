"""Activations, with the constants that ONNX gives them where a node is silent."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator

#: Selu's constants as ONNX states them; torch's own differ in the last digits of single precision.
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
#: From this version on softmax works along one axis; before, along all from that axis on.
_SOFTMAX_ALONG_ONE = 13


@operator("Relu")
def relu(_node: OnnxNode, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@operator("LeakyRelu")
def leaky_relu(node: OnnxNode, x: Tensor) -> Tensor:
    """A small slope below zero."""
    return F.leaky_relu(x, node.attribute("alpha", 0.01))


@operator("PRelu")
def prelu(_node: OnnxNode, x: Tensor, slope: Tensor) -> Tensor:
    """A learned slope below zero, broadcast to the input."""
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(node: OnnxNode, x: Tensor) -> Tensor:
    """An exponential below zero."""
    return F.elu(x, node.attribute("alpha", 1.0))


@operator("Celu")
def celu(node: OnnxNode, x: Tensor) -> Tensor:
    """An exponential below zero, smooth for every alpha."""
    return F.celu(x, node.attribute("alpha", 1.0))


@operator("Selu")
def selu(node: OnnxNode, x: Tensor) -> Tensor:
    """Scaled exponential."""
    alpha, gamma = node.attribute("alpha", _SELU_ALPHA), node.attribute("gamma", _SELU_GAMMA)
    scaled: Tensor = gamma * torch.where(x > 0, x, alpha * torch.expm1(x))
    return scaled


@operator("ThresholdedRelu")
def thresholded(node: OnnxNode, x: Tensor) -> Tensor:
    """Zero up to a threshold."""
    return F.threshold(x, node.attribute("alpha", 1.0), 0.0)


@operator("Sigmoid")
def sigmoid(_node: OnnxNode, x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@operator("HardSigmoid")
def hard_sigmoid(node: OnnxNode, x: Tensor) -> Tensor:
    """A line between 0 and 1, with the node's own slope."""
    return torch.clamp(x * node.attribute("alpha", 0.2) + node.attribute("beta", 0.5), 0, 1)


@operator("HardSwish")
def hard_swish(_node: OnnxNode, x: Tensor) -> Tensor:
    """x times a hard sigmoid of slope 1/6."""
    return F.hardswish(x)


@operator("Swish")
def swish(node: OnnxNode, x: Tensor) -> Tensor:
    """x times its sigmoid."""
    return x * torch.sigmoid(x * node.attribute("alpha", 1.0))


@operator("Mish")
def mish(_node: OnnxNode, x: Tensor) -> Tensor:
    """x * tanh(softplus(x))."""
    return F.mish(x)


@operator("Gelu")
def gelu(node: OnnxNode, x: Tensor) -> Tensor:
    """By the error function, or by a hyperbolic tangent."""
    return F.gelu(x, approximate="tanh" if node.attribute("approximate") in ("tanh", b"tanh") else "none")


@operator("Softplus")
def softplus(_node: OnnxNode, x: Tensor) -> Tensor:
    """log(1 + exp(x)), without torch's straight line above 20."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operator("Softsign")
def softsign(_node: OnnxNode, x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return F.softsign(x)


@operator("Shrink")
def shrink(node: OnnxNode, x: Tensor) -> Tensor:
    """Zero around zero, the rest moved towards it."""
    bound, bias = node.attribute("lambd", 0.5), node.attribute("bias", 0.0)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


@operator("Softmax")
def softmax(node: OnnxNode, x: Tensor) -> Tensor:
    """Shares that add up to one."""
    if node.version >= _SOFTMAX_ALONG_ONE:
        return torch.softmax(x, node.attribute("axis", -1))
    return _from_axis_on(x, node.attribute("axis", 1), torch.softmax)


@operator("LogSoftmax")
def log_softmax(node: OnnxNode, x: Tensor) -> Tensor:
    """Logarithms of the shares."""
    if node.version >= _SOFTMAX_ALONG_ONE:
        return torch.log_softmax(x, node.attribute("axis", -1))
    return _from_axis_on(x, node.attribute("axis", 1), torch.log_softmax)


def _from_axis_on(x: Tensor, axis: int, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    if axis in (-1, x.dim() - 1):
        return function(x, -1)
    return function(x.flatten(axis), -1).reshape(x.shape)


@operator("Hardmax")
def hardmax(node: OnnxNode, x: Tensor) -> Tensor:
    """One at the largest, zero elsewhere."""
    axis = node.attribute("axis", -1 if node.version >= _SOFTMAX_ALONG_ONE else 1)
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1.0)


@operator("Dropout")
def dropout(node: OnnxNode, x: Tensor, _ratio: Tensor | None = None, training: Tensor | None = None) -> object:
    """Nothing, at inference; the mask that nothing was dropped."""
    if training is not None and bool(training):
        raise UnsupportedLayer(
            f"node {node.layer_name!r} (Dropout) is in training mode. Export the model for inference: model.eval() "
            "before torch.onnx.export.",
            field=node.layer_name,
        )
    return x if node.wanted == 1 else (x, torch.ones_like(x, dtype=torch.bool))
