"""Nodes of TensorFlow 2.3's graph: what `x + y` and `tf.reshape(x, ...)` are in files of that version.

A node has its operands by position, constants among them, and its options in `attr`, each under the name of its type.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.meanings import MEANINGS

#: From the operands and the attributes of a node: what it computes.
Node = Callable[[Sequence[Any], Mapping[str, Any]], Any]


def _option(attributes: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """`{"keep_dims": {"b": true}}` is true; whole numbers are written as texts, and texts in base 64."""
    stated = attributes.get(name)
    if not isinstance(stated, Mapping) or not stated:
        return default
    ((kind, value),) = stated.items()
    readers: dict[str, Callable[[Any], Any]] = {
        "i": int,
        "b": bool,
        "f": float,
        "s": lambda text: base64.b64decode(text).decode(),
        "list": lambda items: [int(item) for item in items.get("i", [])],
    }
    return readers[kind](value) if kind in readers else value


def _meant(meaning: str, **options: tuple[str, Any]) -> Node:
    """A node that is a meaning, with options read from attributes: keyword -> (attribute, default)."""

    def node(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
        stated = {key: _option(attributes, name, default) for key, (name, default) in options.items()}
        return MEANINGS[meaning](*operands, **stated)

    return node


def _concatenated(operands: Sequence[Any], _attributes: Mapping[str, Any]) -> Tensor:
    *tensors, axis = operands
    return torch.cat(tensors, dim=int(axis))


def _split(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    axis, x = operands
    return MEANINGS["split"](x, _option(attributes, "num_split"), int(axis))


def _split_by_sizes(operands: Sequence[Any], _attributes: Mapping[str, Any]) -> Any:
    x, sizes, axis = operands
    return MEANINGS["split"](x, sizes, int(axis))


def _packed(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Tensor:
    stacked: Tensor = MEANINGS["stack"](operands, _option(attributes, "axis", 0))
    return stacked


def _cast(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    kinds = {"DT_INT32": "int32", "DT_INT64": "int64", "DT_BOOL": "bool"}
    return MEANINGS["cast"](operands[0], kinds.get(_option(attributes, "DstT"), "float32"))


def _strided(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Tensor:
    """`x[1:, ..., None, 0]`: bounds as lists, and masks that say which places of them mean something else."""
    x, begin, end, strides = operands
    named = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    first, last, rest, new, picked = (int(_option(attributes, name, 0)) for name in named)
    index: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if rest & bit:
            index.append(Ellipsis)
        elif new & bit:
            index.append(None)
        elif picked & bit:
            index.append(int(start))
        else:
            index.append(slice(None if first & bit else start, None if last & bit else stop, step))
    result: Tensor = x[tuple(index)]
    return result


def _resized(mode: str) -> Node:
    def node(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
        if not _option(attributes, "half_pixel_centers", False):
            raise TypeError("half_pixel_centers=False")
        return MEANINGS["resize"](*operands, method=mode)

    return node


_KEEP = {"keepdims": ("keep_dims", False)}

NODES: dict[str, Node] = {
    **{
        name: _meant(meaning)
        for name, meaning in {
            "Add": "add",
            "AddV2": "add",
            "BiasAdd": "add",
            "Sub": "subtract",
            "Mul": "multiply",
            "RealDiv": "divide",
            "FloorDiv": "floor_divide",
            "Pow": "power",
            "SquaredDifference": "squared_difference",
            "Equal": "equal",
            "NotEqual": "not_equal",
            "Greater": "greater",
            "GreaterEqual": "greater_equal",
            "Less": "less",
            "LessEqual": "less_equal",
            "LogicalAnd": "logical_and",
            "LogicalOr": "logical_or",
            "LogicalNot": "logical_not",
            "Maximum": "maximum",
            "Minimum": "minimum",
            "ClipByValue": "clip",
            "Neg": "negative",
            "Abs": "absolute",
            "Sign": "sign",
            "Square": "square",
            "Sqrt": "sqrt",
            "Rsqrt": "rsqrt",
            "Reciprocal": "reciprocal",
            "Exp": "exp",
            "Log": "log",
            "Log1p": "log1p",
            "Sin": "sin",
            "Cos": "cos",
            "Floor": "floor",
            "Ceil": "ceil",
            "Erf": "erf",
            "Relu": "relu",
            "Relu6": "relu6",
            "Sigmoid": "sigmoid",
            "Tanh": "tanh",
            "Elu": "elu",
            "Selu": "selu",
            "Softplus": "softplus",
            "Softsign": "softsign",
            "Softmax": "softmax",
            "LogSoftmax": "log_softmax",
            "Identity": "identity",
            "Reshape": "reshape",
            "Transpose": "transpose",
            "ExpandDims": "expand_dims",
            "Tile": "tile",
            "ReverseV2": "flip",
            "Pad": "pad",
            "GatherV2": "take",
            "SelectV2": "where",
            "Select": "where",
            "Shape": "shape",
            "ZerosLike": "zeros_like",
            "OnesLike": "ones_like",
        }.items()
    },
    "PadV2": lambda operands, _: MEANINGS["pad"](operands[0], operands[1], value=operands[2]),
    "Mean": _meant("mean", **_KEEP),
    "Sum": _meant("sum", **_KEEP),
    "Max": _meant("max", **_KEEP),
    "Min": _meant("min", **_KEEP),
    "Prod": _meant("prod", **_KEEP),
    "Any": _meant("any", **_KEEP),
    "All": _meant("all", **_KEEP),
    "ArgMax": _meant("argmax"),
    "Squeeze": _meant("squeeze", axis=("squeeze_dims", None)),
    "LeakyRelu": _meant("leaky_relu", slope=("alpha", 0.2)),
    "MatMul": _meant("matmul", transpose_x=("transpose_a", False), transpose_y=("transpose_b", False)),
    "BatchMatMul": _meant("matmul", transpose_x=("adj_x", False), transpose_y=("adj_y", False)),
    "BatchMatMulV2": _meant("matmul", transpose_x=("adj_x", False), transpose_y=("adj_y", False)),
    "Einsum": _meant("einsum", equation=("equation", "")),
    "DepthToSpace": _meant("depth_to_space", block=("block_size", 2)),
    "SpaceToDepth": _meant("space_to_depth", block=("block_size", 2)),
    "Unpack": _meant("unstack", axis=("axis", 0)),
    "ConcatV2": _concatenated,
    "Split": _split,
    "SplitV": _split_by_sizes,
    "Pack": _packed,
    "Cast": _cast,
    "StridedSlice": _strided,
    "ResizeBilinear": _resized("bilinear"),
    "ResizeNearestNeighbor": _resized("nearest"),
}
