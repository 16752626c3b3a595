"""Nodes of TensorFlow 2.3's graph: what `x + y` and `tf.reshape(x, ...)` are in files of that version.

A node has its operands by position, constants among them, and its options in `attr`, each under the name of its type.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.meanings import MEANINGS, picked

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
    joined: Tensor = MEANINGS["concatenate"](tensors, axis)
    return joined


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
    first, last, rest, new, single = (int(_option(attributes, name, 0)) for name in named)
    index: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if rest & bit:
            index.append(Ellipsis)
        elif new & bit:
            index.append(None)
        elif single & bit:
            index.append(int(start))
        else:
            index.append(slice(None if first & bit else start, None if last & bit else stop, step))
    return picked(x, index)


def _resized(mode: str) -> Node:
    return partial(_resize, mode=mode)


def _resize(operands: Sequence[Any], attributes: Mapping[str, Any], *, mode: str) -> Any:
    half, corners = (_option(attributes, name, False) for name in ("half_pixel_centers", "align_corners"))
    return MEANINGS["resize"](*operands, method=mode, half_pixels=half, align_corners=corners)


def _pooled(meaning: str) -> Node:
    return _meant(meaning, size=("ksize", 2), strides=("strides", None), padding=("padding", "VALID"))


def _mirrored(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    return MEANINGS["pad"](*operands, mode=_option(attributes, "mode", "REFLECT"))


def _added(operands: Sequence[Any], _attributes: Mapping[str, Any]) -> Any:
    return MEANINGS["add_n"](operands)


def _rolled(operands: Sequence[Any], _attributes: Mapping[str, Any]) -> Any:
    x, shift, axis = operands
    return MEANINGS["roll"](x, [shift] if isinstance(axis, list) and not isinstance(shift, list) else shift, axis)


def _one_hot(operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    x, classes, on, off = operands
    if (float(on), float(off)) != (1.0, 0.0):
        raise TypeError(f"values {on} and {off}")
    return MEANINGS["one_hot"](x, classes, _option(attributes, "axis", -1))


def _filled(operands: Sequence[Any], _attributes: Mapping[str, Any]) -> Tensor:
    sizes, value = operands
    return torch.full([int(size) for size in sizes], float(value))


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
            "Tan": "tan",
            "Sinh": "sinh",
            "Cosh": "cosh",
            "Asin": "arcsin",
            "Acos": "arccos",
            "Atan": "arctan",
            "Asinh": "arcsinh",
            "Acosh": "arccosh",
            "Atanh": "arctanh",
            "Atan2": "arctan2",
            "Expm1": "expm1",
            "Round": "round",
            "Rint": "round",
            "IsNan": "isnan",
            "IsInf": "isinf",
            "IsFinite": "isfinite",
            "Xlogy": "xlogy",
            "DivNoNan": "divide_no_nan",
            "FloorMod": "remainder",
            "StopGradient": "identity",
            "BroadcastTo": "broadcast_to",
            "Slice": "slice",
            "Size": "size",
            "Cumsum": "cumsum",
            "Cumprod": "cumprod",
            "MatrixBandPart": "band",
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
    "EuclideanNorm": _meant("norm", **_KEEP),
    "Max": _meant("max", **_KEEP),
    "Min": _meant("min", **_KEEP),
    "Prod": _meant("prod", **_KEEP),
    "Any": _meant("any", **_KEEP),
    "All": _meant("all", **_KEEP),
    "ArgMax": _meant("argmax"),
    "ArgMin": _meant("argmin"),
    "AddN": _added,
    "Roll": _rolled,
    "OneHot": _one_hot,
    "Fill": _filled,
    "MirrorPad": _mirrored,
    "MaxPool": _pooled("max_pool"),
    "AvgPool": _pooled("average_pool"),
    "TopKV2": _meant("top_k"),
    "LRN": _meant(
        "local_response_normalization",
        depth_radius=("depth_radius", 5),
        bias=("bias", 1.0),
        alpha=("alpha", 1.0),
        beta=("beta", 0.5),
    ),
    "ExtractImagePatches": _meant(
        "patches", sizes=("ksizes", None), strides=("strides", None), rates=("rates", 1), padding=("padding", "VALID")
    ),
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
    "ResizeBicubic": _resized("bicubic"),
    "ResizeArea": _resized("area"),
}
