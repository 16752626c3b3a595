"""ONNX in torch: an interpreter of its graphs, one short function per operator.

The functions stand in the table `OPERATORS`; the imports below fill it, in the order of this list. Nothing here reads a
file or knows the onnx package (`coppice.formats.onnx`).
"""

from coppice.onnx_operators import (  # noqa: F401  # imported for the rows that they enter
    activation,
    arithmetic,
    attention,
    convolution,
    fused,
    indexing,
    normalization,
    numeric,
    pooling,
    product,
    quantized,
    recurrent,
    reduction,
    resizing,
    sequences,
    shape,
)
from coppice.onnx_operators.graph import Graph, GraphInput, GraphNode
from coppice.onnx_operators.network import BranchNode, OnnxNetwork, build
from coppice.onnx_operators.table import OPERATORS

__all__ = ["OPERATORS", "BranchNode", "Graph", "GraphInput", "GraphNode", "OnnxNetwork", "build"]
