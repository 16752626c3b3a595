"""Channel counts that TensorFlow's graphs hold as constants, and what each must be after a cut.

A traced Keras layer states few sizes: the flattened length, the target of a reshape, the output of a transposed
convolution, the units of a dense layer on more than two axes. Each is known here by the layer's class and the
constant's name below the layer's scope, and its old value is checked. Every other whole number of a layer whose sizes
change must be of a kind that no cut touches (an axis, a stride, a padding); else the graph is not edited at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from coppice.formats.saved_model.sizes import LayerSizes

Numbers = tuple[int, ...]


class CantEdit(Exception):
    """The graph holds something that can't be edited safely; the message says what and where."""


#: (sizes of the layer, index in the constant's name if it has one) -> every value that the constant may have.
Values = Callable[[LayerSizes, int], list[Numbers]]


def _flattened(sizes: LayerSizes, _: int) -> list[Numbers]:
    return [(-1, math.prod(call.outputs[0][1:])) for call in sizes.calls]


def _target(sizes: LayerSizes, axis: int) -> list[Numbers]:
    """Axis 0 is the batch, which is read from the input."""
    return [(sizes.target[axis - 1],)] if 0 < axis <= len(sizes.target) else []


def _output_axis(sizes: LayerSizes, axis: int) -> list[Numbers]:
    return [(call.outputs[0][axis],) for call in sizes.calls if axis < len(call.outputs[0])]


def _units(sizes: LayerSizes, _: int) -> list[Numbers]:
    return [(sizes.arrays["kernel"][-1],)] if "kernel" in sizes.arrays else []


def _step(sizes: LayerSizes, _: int) -> list[Numbers]:
    """Of a recurrent layer: what a step takes and what it gives; the samples may be open."""
    call = sizes.calls[0]
    samples, _time, *taken = call.inputs[0]
    given = call.outputs[0][-len(taken) :]
    return [(number, *shape) for shape in (taken, given) for number in (-1, 1, samples)]


def _state(sizes: LayerSizes, _: int) -> list[Numbers]:
    return [(_width_of_state(sizes),)]


def _width_of_state(sizes: LayerSizes) -> int:
    """Of a recurrent layer, which is a cell itself, or holds one."""
    return next(shape[-2] for name, shape in sizes.arrays.items() if name.split(".")[-1] == "recurrent_kernel")


def _gates(sizes: LayerSizes, _: int) -> list[Numbers]:
    """Two gates of a GRU, and the rest."""
    units = _width_of_state(sizes)
    return [(units, units, -1)]


def _groups(sizes: LayerSizes, _: int) -> list[Numbers]:
    return [(int(sizes.entry["config"]["groups"]),)]


def _steps_as_samples(sizes: LayerSizes, _: int) -> list[Numbers]:
    """TimeDistributed: what the layer inside takes, and what it gave, as steps again."""
    taken = [(-1, *call.inputs[0][2:]) for call in sizes.calls]
    return taken + [(-1, *call.outputs[0][1:]) for call in sizes.calls]


def _result(sizes: LayerSizes, _: int) -> list[Numbers]:
    """Of an operation: the shape of its result, in which one size may be left to be computed."""
    shapes = [call.outputs[0] for call in sizes.calls]
    return shapes + [(*shape[:axis], -1, *shape[axis + 1 :]) for shape in shapes for axis in range(len(shape))]


#: One cell run along time.
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
#: What all of them state.
_LOOP: tuple[tuple[re.Pattern[str], Values], ...] = (
    (re.compile(r"zeros(_\d+)?/(packed/1|mul/y)"), _state),
    (re.compile(r"TensorArray\w*(/TensorList\w+)?/element_shape"), _step),
    (re.compile(r"Tile(_\d+)?/multiples"), _step),
)
#: class -> (name below the layer's scope, values). A group `index` in the name is handed on. A layer that is called
#: again repeats its nodes under the same scope with a number appended to the first part of the name.
STATED: dict[str, tuple[tuple[re.Pattern[str], Values], ...]] = {
    "Flatten": ((re.compile(r"Const(_\d+)?"), _flattened),),
    "Reshape": ((re.compile(r"Reshape(_\d+)?/shape/(?P<index>\d+)"), _target),),
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        ((re.compile(r"stack(_\d+)?/(?P<index>\d+)"), _output_axis),),
    ),
    "Dense": ((re.compile(r"Tensordot(_\d+)?/Const_2"), _units),),
    **dict.fromkeys(RECURRENT, _LOOP),
    **dict.fromkeys(("GRU", "RNN"), (*_LOOP, (re.compile(r"(\w+/)?Const(_\d+)?"), _gates))),
    "GroupNormalization": ((re.compile(r"(stack(_\d+)?/\d+|floordiv(_\d+)?/y|Reshape(_\d+)?/shape/\d+)"), _groups),),
    "GRUCell": ((re.compile(r"Const(_\d+)?"), _gates),),
    **dict.fromkeys(("TFOpLambda", "TensorFlowOpLayer"), ((re.compile(r"Reshape(_\d+)?/shape"), _result),)),
    "TimeDistributed": (
        (re.compile(r"Reshape(_\d+)?/shape"), _steps_as_samples),
        (re.compile(r"Reshape(_\d+)?/shape/(?P<index>\d+)"), _output_axis),
    ),
}

#: Prefixes of names inside a loop or a branch of a layer.
_BRANCHES = re.compile(r"((cond|while)/)+")

#: class -> names of constants that hold axes, times or limits: tensordot joins them by the operators that also join
#: sizes.
AXES: dict[str, re.Pattern[str]] = {
    "Dense": re.compile(r"Tensordot(_\d+)?/(axes|free|Const|Const_1|concat(_1)?/axis|GatherV2(_1)?/axis)"),
    "DepthwiseConv2D": re.compile(r"depthwise(_\d+)?/dilation_rate"),
    **dict.fromkeys(("UpSampling1D", "UpSampling2D", "UpSampling3D"), re.compile(r"Tile(_\d+)?/multiples(_\d+)?")),
    "RepeatVector": re.compile(r"stack(_\d+)?|Tile(_\d+)?/multiples"),
    **dict.fromkeys(RECURRENT, re.compile(r"zeros(_\d+)?/Less/y")),
    "SeparableConv2D": re.compile(r"separable_conv2d(_\d+)?/dilation_rate"),
}

#: (operator, number of the input, counted from the end where negative) whose whole numbers are axes, strides,
#: paddings, factors of spatial sizes, or bounds of a slice, which Keras' layers only set on spatial axes.
NEUTRAL_INPUTS = frozenset(
    {
        *((operator, 1) for operator in ("Mean", "Sum", "Prod", "Max", "Min", "ArgMax", "All", "Any")),
        *((operator, 1) for operator in ("Pad", "PadV2", "MirrorPad", "Transpose", "ExpandDims")),
        *((operator, 1) for operator in ("ResizeNearestNeighbor", "ResizeBilinear")),
        *((operator, number) for operator in ("Mul", "AddV2", "Sub", "FloorDiv") for number in (0, 1)),
        *((operator, number) for operator in ("SpaceToBatchND", "BatchToSpaceND") for number in (1, 2)),
        *(("StridedSlice", number) for number in (1, 2, 3)),
        ("GatherV2", 2),
        ("ConcatV2", -1),
        ("Split", 0),
    }
)

#: Operators without an attribute that counts channels; what is not here is not edited around.
KNOWN_OPERATORS = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax AssignAddVariableOp AssignSubVariableOp AssignVariableOp AvgPool AvgPool3D
    BatchMatMulV2 BatchToSpaceND BiasAdd Cast ConcatV2 Const Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2
    CudnnRNN CudnnRNNV3 DepthwiseConv2dNative DivNoNan Einsum Elu Equal Erf Erfc Exp ExpandDims Fill FloorDiv FloorMod
    FusedBatchNormV3 GatherV2 Greater GreaterEqual Identity IdentityN If L2Loss LeakyRelu Less LessEqual Log Log1p
    LogicalAnd LogicalNot LogicalOr LogSoftmax MatMul Max Maximum MaxPool MaxPool3D Mean Min Minimum MirrorPad Mul Neg
    NoOp NotEqual Pack Pad PadV2 PartitionedCall Placeholder Pow Prod RandomStandardNormal RandomUniform Range Rank
    ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ResourceGather
    ReverseSequence ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Softmax Softplus Softsign
    SpaceToBatchND Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf
    StatelessRandomGetKeyCounter StatelessRandomUniformV2 StatelessWhile StopGradient StridedSlice Sub Sum Tanh
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Tile Transpose Unpack
    While ZerosLike
    """.split()  # noqa: SIM905  # as a list it would be a hundred lines
)


def new_value(was: LayerSizes, now: LayerSizes, name: str, value: Numbers) -> Numbers | None:
    """What a stated size becomes; None where the name states none. Raises CantEdit where the old value is strange."""
    for pattern, values in STATED.get(was.kind, ()):
        found = pattern.fullmatch(_BRANCHES.sub("", name, count=1))
        if found is None:
            continue
        index = int(found.groupdict().get("index") or 0)
        old, new = values(was, index), values(now, index)
        answers = {after for before, after in zip(old, new, strict=True) if before == value}
        if len(answers) != 1:
            raise CantEdit(f"the constant {name} of a {was.kind} is {value}, not {old}")
        return answers.pop()
    return None


def _first_state(sizes: LayerSizes) -> Numbers:
    """A kernel of zeros: what it makes of a step has the shape of a state."""
    return (*sizes.arrays["kernel"][:-1], sizes.arrays["recurrent_kernel"][-2])


#: class -> (name, shape): constant zeros.
_ZEROS: dict[str, tuple[re.Pattern[str], Callable[[LayerSizes], Numbers]]] = {
    "LSTM": (re.compile(r"zeros_like(_\d+)?"), lambda sizes: sizes.arrays["bias"]),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), (re.compile(r"zeros(_\d+)?"), _first_state)),
}
#: class -> (name, array, axis): one divided by the root of a width.
_SCALES = {"MultiHeadAttention": (re.compile(r"Mul(_\d+)?/y"), "query_kernel", -1)}


def new_shape(was: LayerSizes, now: LayerSizes, name: str, shape: Numbers) -> Numbers | None:
    """What the shape of constant zeros becomes; None where nothing is known of them."""
    if was.kind not in _ZEROS:
        return None
    pattern, stated = _ZEROS[was.kind]
    found = pattern.fullmatch(_BRANCHES.sub("", name, count=1))
    return stated(now) if found and stated(was) == shape else None


def new_scale(was: LayerSizes, now: LayerSizes, name: str, scale: float) -> float:
    """What a number that depends on a width becomes; most depend on none and stay."""
    pattern, array, axis = _SCALES.get(was.kind, (None, "", 0))
    if pattern is None or not pattern.fullmatch(name):
        return scale
    old, new = (1 / math.sqrt(sizes.arrays[array][axis]) for sizes in (was, now))
    if not math.isclose(scale, old, rel_tol=1e-5):
        raise CantEdit(f"the constant {name} of a {was.kind} is {scale:g}, not {old:g}")
    return new


def may_count_channels(value: Numbers) -> bool:
    """Whether one of the numbers could be of channels that were cut: a cut leaves one of at least two."""
    return any(number > 1 for number in value)


def is_axes(kind: str, name: str) -> bool:
    """Whether a constant of that name in a layer of that class holds axes."""
    return kind in AXES and AXES[kind].fullmatch(name) is not None
