"""Which row of the table an entry of the configuration means, if any."""

from __future__ import annotations

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Entry, class_name, is_of_keras
from coppice.keras_layers.operations import is_known_function, is_operation, operation_row
from coppice.keras_layers.table import LAYERS, LayerClass

_RECURRENT = "recurrent layers are not computed yet"
_NO_MODEL = "what it computes is not in the file"
#: Classes that can't be passed over, because they change the shape of what they get.
_REFUSED: dict[str, str] = {
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "RNN": _RECURRENT,
    "CuDNNLSTM": _RECURRENT,
    "CuDNNGRU": _RECURRENT,
    "ConvLSTM1D": _RECURRENT,
    "ConvLSTM2D": _RECURRENT,
    "ConvLSTM3D": _RECURRENT,
    "Bidirectional": _RECURRENT,
    "TimeDistributed": "wrapped layers are not computed yet",
    "KerasLayer": _NO_MODEL,
    "TFSMLayer": _NO_MODEL,
}


def row_of(entry: Entry, name: str) -> LayerClass | None:
    """The row of a layer; None for one that is to be passed over; raises UnsupportedLayer where that can't be right."""
    kind = class_name(entry)
    if kind in _REFUSED:
        raise UnsupportedLayer(f"layer {name!r} is a {kind}: {_REFUSED[kind]}.", field=name)
    if is_operation(entry):
        return LAYERS["GetItem"] if kind == "GetItem" else operation_row(entry)
    if kind in ("TFOpLambda", "TensorFlowOpLayer") and not is_known_function(entry):
        return None
    return LAYERS.get(kind) if is_of_keras(entry) else None
