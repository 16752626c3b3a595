"""Which row of the table an entry of the configuration means, if any."""

from __future__ import annotations

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Entry, class_name, is_model, is_of_keras
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.operations import is_known_function, is_operation, operation_row
from coppice.keras_layers.table import LAYERS, LayerClass, Part

_NO_MODEL = "what it computes is not in the file"
_TEXTS = (
    "it works on texts, which no channel of a network holds. Prune the model that takes its output (the one that you "
    "trained before you put this layer in front), and put the layer in front of the result"
)
#: Classes that can't be passed over, because they change the shape of what they get.
_REFUSED: dict[str, str] = {
    "KerasLayer": _NO_MODEL,
    "TFSMLayer": _NO_MODEL,
    "TorchModuleWrapper": _NO_MODEL,
    "JaxLayer": _NO_MODEL,
    "FlaxLayer": _NO_MODEL,
    "StringLookup": _TEXTS,
    "TextVectorization": _TEXTS,
    "Hashing": _TEXTS,
    "HashedCrossing": _TEXTS,
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
    if kind == "IntegerLookup" and not isinstance(entry["config"].get("vocabulary"), list):
        return None  # adapted: what it looks up is not in the configuration
    return LAYERS.get(kind) if is_of_keras(entry) else None


def parts_of(entry: Entry, name: str, dialect: Dialect) -> tuple[Part, ...]:
    """The layers inside a layer: what a wrapper wraps, a cell. A model's layers are not meant."""
    row = None if is_model(entry) else row_of(entry, name)
    return () if row is None else row.parts(entry["config"], dialect)
