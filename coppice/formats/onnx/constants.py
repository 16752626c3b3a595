"""Values that stand in an ONNX file: tensors, and Constant nodes in their six spellings."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from coppice.errors import UnsupportedLayer
from coppice.onnx_operators.graph import Array

#: Attributes of a Constant node that hold its value.
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")


def array_of(tensor: TensorProto) -> Array:
    """The values of a tensor in a type that torch has: bfloat16 in single precision, which holds it exactly."""
    array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if tensor.data_type == TensorProto.BFLOAT16 else np.asarray(array)


def value_of(node: NodeProto) -> AttributeProto:
    """The attribute of a Constant node that holds its value; raises UnsupportedLayer where it is text or sparse."""
    found: AttributeProto | None = next((one for one in node.attribute if one.name in _VALUES), None)
    if found is not None:
        return found
    raise UnsupportedLayer(
        f"the constant {node.output[0][:100]!r} is text or sparse, which Coppice can't compute.",
        field=node.name or None,
    )


def tensor_of(node: NodeProto) -> TensorProto:
    """The value of a Constant node as a tensor."""
    attribute = value_of(node)
    if attribute.name == "value":
        return attribute.t
    value = helper.get_attribute_value(attribute)
    return numpy_helper.from_array(np.asarray(value, dtype=np.int64 if "int" in attribute.name else np.float32))
