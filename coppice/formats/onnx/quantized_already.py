"""Whether an ONNX model holds few bits already: then there is nothing left to round, and doing it twice spoils it."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from coppice.errors import AlreadyQuantized
from coppice.formats.onnx.bodies import nodes_within

#: Operators of numbers with scales, in the standard and in ONNX Runtime.
OPERATORS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "MatMulNBits",
        "MatMulBnb4",
        "GatherBlockQuantized",
        "QAttention",
        "QGemm",
        "QMoE",
    }
)
_SMALL = frozenset(
    {
        TensorProto.INT8,
        TensorProto.UINT8,
        TensorProto.INT4,
        TensorProto.UINT4,
        getattr(TensorProto, "INT2", TensorProto.INT4),
        getattr(TensorProto, "UINT2", TensorProto.UINT4),
    }
)
#: What unpacks stored whole numbers in files such as ours.
_UNPACKING = frozenset({"Cast", "BitShift", "BitwiseAnd"})


_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def refuse_quantized(model: onnx.ModelProto, name: str) -> None:
    """Raises BadUpload where the model has weights of few bits, or of half precision."""
    half = next((one.name for one in model.graph.initializer if one.data_type in _HALF and len(one.dims) > 1), None)
    if half is not None:
        raise AlreadyQuantized(
            f"{name} is in half precision already: {half} is float16 or bfloat16. Send the model in float32 that it was"
            " made of."
        )
    small = {tensor.name for tensor in model.graph.initializer if tensor.data_type in _SMALL and len(tensor.dims) > 1}
    for node in nodes_within(model.graph):
        if (
            node.op_type in OPERATORS
            or node.op_type.startswith("QLinear")
            or (node.op_type in _UNPACKING and any(entry in small for entry in node.input))
        ):
            raise AlreadyQuantized(
                f"{name} is quantized already: node {node.name or node.output[0]} is a {node.op_type}. Send the model "
                "in floats that it was made from."
            )
