"""Keras without Keras: an interpreter of its configurations in torch operations.

One short function per layer class stands in the table `LAYERS`; the imports below fill it, in the order of this list.
Nothing here reads a file (`coppice.formats`) and nothing runs code that a user wrote.
"""

from coppice.keras_layers import (  # noqa: F401  # imported for the rows that they enter
    activation,
    attention,
    conv_recurrent,
    convolution,
    cudnn,
    dense,
    heads,
    locally_connected,
    merge,
    normalization,
    operations,
    pooling,
    preprocessing,
    recurrent,
    regularization,
    shape,
    wrappers,
)
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.network import KerasNetwork, PassedOver
from coppice.keras_layers.table import LAYERS

__all__ = ["LAYERS", "Dialect", "Generation", "KerasNetwork", "PassedOver"]
