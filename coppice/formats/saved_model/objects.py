"""The objects of a SavedModel: which node is which Keras layer, and where its variables and its metadata are.

A SavedModel is a graph of objects joined by named edges: `layer-0`, `kernel`, `variables`. Keras leaves its own record
of every layer as JSON, up to TensorFlow 2.4 inside the node, later in a file of its own, `keras_metadata.pb`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coppice.errors import TruncatedFile, UnsupportedLayer
from coppice.formats.keras.file import LayerPath
from coppice.formats.saved_model.bundle import Bundle, read_bundle
from coppice.formats.saved_model.protos import Message, read

MODEL = "saved_model.pb"
METADATA = "keras_metadata.pb"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the bundle's key of the checkpoint's own object graph
VALUE = "VARIABLE_VALUE"  # the name of a variable's attribute that is its value
ROOT = 0
_METRIC = "_tf_keras_metric"

#: A graph without layers can still be pruned in another form.
_AS_ONNX = (
    "Or send it to the ONNX call: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx --opset 17, where "
    "FOLDER is the unpacked one."
)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable: its node and where its value is in the bundle."""

    node: int
    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLayer:
    """One Keras layer or nested model: its node, its metadata, its variables in Keras' order."""

    path: LayerPath
    node: int
    metadata: JsonObject
    variables: tuple[Variable, ...]
    is_model: bool
    edge: str = ""  # by which a layer that is no model holds it: `cell`, `forward_layer`
    within: bool = False  # inside a layer that is no model, which lists its variables among its own

    @property
    def lists_variables(self) -> bool:
        """Whether variables are found here, and not at a layer around it or inside it."""
        return bool(self.variables) and not self.is_model and not self.within


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedObjects:
    """A SavedModel, read: nothing of it is changed by what follows."""

    name: str
    model: Message
    keras: Message | None  # keras_metadata.pb, from TensorFlow 2.5 on
    bundle: Bundle
    root: SavedLayer
    layers: tuple[SavedLayer, ...]
    keys: Mapping[int, str] = field(repr=False)  # node of a variable -> key in the bundle

    @property
    def graph(self) -> Message:
        """The one MetaGraphDef."""
        return self.model.meta_graphs[0]

    @property
    def nodes(self) -> Any:
        """The nodes of the object graph."""
        return self.graph.object_graph_def.nodes


def read_objects(name: str, names: frozenset[str], member: Callable[[str], bytes]) -> SavedObjects:
    """Read a SavedModel folder whose files `member` gives; raises TruncatedFile, or Refused where it is no Keras."""
    model = read("SavedModel", member(MODEL), f"{name}: {MODEL}")
    if not model.meta_graphs:
        raise TruncatedFile(f"{name}: {MODEL} holds no graph. Save and zip the model again.")
    if len(model.meta_graphs) > 1:
        raise UnsupportedLayer(
            f"{name}: a SavedModel with {len(model.meta_graphs)} graphs; Keras writes one. {_AS_ONNX}"
        )
    keras = read("SavedMetadata", member(METADATA), f"{name}: {METADATA}") if METADATA in names else None
    nodes = model.meta_graphs[0].object_graph_def.nodes
    if not nodes:
        raise UnsupportedLayer(f"{name} is a SavedModel of TensorFlow 1 or an Estimator: it has no layers. {_AS_ONNX}")
    records = _records(nodes, keras, name)
    if ROOT not in records:
        raise UnsupportedLayer(
            f"{name} is a SavedModel without Keras' own record of its layers: model.export, tf.saved_model.save and TF "
            f"Hub leave it out. Save the Keras model with model.save(...). {_AS_ONNX}"
        )
    bundle = read_bundle(name, member)
    keys = _bundle_keys(nodes, bundle, name)
    root, *layers = _Tree(nodes, records, keys, name).layers(ROOT, ())
    return SavedObjects(name=name, model=model, keras=keras, bundle=bundle, root=root, layers=tuple(layers), keys=keys)


def children(node: Message) -> dict[str, int]:
    """The node's edges by name."""
    return {child.local_name: child.node_id for child in node.children}


def _records(nodes: Any, keras: Message | None, name: str) -> dict[int, tuple[str, JsonObject]]:
    """Node -> what it is to Keras, and Keras' JSON."""
    if keras is None:
        found = [
            (number, node.user_object.identifier, node.user_object.metadata)
            for number, node in enumerate(nodes)
            if node.HasField("user_object") and node.user_object.metadata
        ]
    else:
        found = [(one.node_id, one.identifier, one.metadata) for one in keras.nodes]
    try:
        return {number: (kind, json.loads(text)) for number, kind, text in found if kind.startswith("_tf_keras")}
    except ValueError as e:
        raise TruncatedFile(f"{name}: Keras' metadata is not JSON ({e}). Save and zip the model again.") from e


@dataclass(frozen=True, slots=True)
class _Tree:
    """The objects that are Keras layers."""

    nodes: Any
    records: Mapping[int, tuple[str, JsonObject]]
    keys: Mapping[int, str]
    name: str

    def layers(self, number: int, path: LayerPath, edge: str = "", *, within: bool = False) -> Iterator[SavedLayer]:
        """The layer or model at this node, then what it holds in order, then what those hold."""
        edges = children(self.nodes[number])
        # `layer-3` numbers all layers, `layer_with_weights-1` some of the same nodes again.
        inner = [edges[f"layer-{position}"] for position in range(len(edges)) if f"layer-{position}" in edges]
        owned = _own(self.nodes, edges)
        yield SavedLayer(
            path=path,
            node=number,
            metadata=self.records[number][1],
            variables=tuple(Variable(node=one, name=self._variable(one), key=self.keys[one]) for one in owned),
            is_model=bool(inner),
            edge=edge,
            within=within,
        )
        for one in inner:
            if one not in self.records:
                raise UnsupportedLayer(f"{self.name}: a layer of the model has no Keras metadata; it can't be rebuilt.")
            yield from self.layers(one, self._below(path, one), within=within)
        for one, held_by in self._held(edges).items() if not inner else ():
            yield from self.layers(one, self._below(path, one), held_by, within=True)

    def _variable(self, node: int) -> str:
        return str(self.nodes[node].variable.name)

    def _below(self, path: LayerPath, node: int) -> LayerPath:
        return (*path, str(self.records[node][1]["name"]))

    def _held(self, edges: Mapping[str, int]) -> dict[int, str]:
        """The layers that a layer keeps in its attributes: node -> edge."""
        return {node: edge for edge, node in edges.items() if node in self.records and self.records[node][0] != _METRIC}


def _own(nodes: Any, edges: Mapping[str, int]) -> list[int]:
    """The nodes of a layer's variables as Keras orders them in every file: the trainable ones first.

    A preprocessing layer (Normalization) lists none, and holds its statistics in the order of their making.
    """
    if "variables" not in edges and "trainable_variables" not in edges:
        return [node for node in dict.fromkeys(edges.values()) if nodes[node].HasField("variable")]
    listed = [children(nodes[edges[name]]) for name in ("trainable_variables", "variables") if name in edges]
    in_order = [edge[str(number)] for edge in listed for number in range(len(edge)) if str(number) in edge]
    return list(dict.fromkeys(in_order))


def _bundle_keys(nodes: Any, bundle: Bundle, name: str) -> dict[int, str]:
    """Where the value of every variable is: both object graphs are walked along the edges of the same names."""
    if OBJECT_GRAPH not in bundle.entries:
        raise TruncatedFile(f"{name}: the variables have no object graph. Save and zip the model again.")
    stored = read("TrackableObjectGraph", bundle.text(OBJECT_GRAPH), f"{name}: {OBJECT_GRAPH}").nodes
    keys: dict[int, str] = {}
    waiting, seen = [(ROOT, ROOT)], {ROOT}
    while waiting:
        number, twin = waiting.pop()
        for attribute in stored[twin].attributes:
            if attribute.name == VALUE:
                keys[number] = attribute.checkpoint_key
        twins = children(stored[twin])
        for edge, child in children(nodes[number]).items():
            if edge in twins and child not in seen:
                seen.add(child)
                waiting.append((child, twins[edge]))
        for slot, twin_slot in _slots(nodes[number], stored[twin]):
            if slot not in seen:
                seen.add(slot)
                waiting.append((slot, twin_slot))
    return keys


def _slots(node: Message, twin: Message) -> Iterator[tuple[int, int]]:
    """The optimizer's slots in both graphs; they have no edges, and stand in the same order."""
    for one, other in zip(node.slot_variables, twin.slot_variables, strict=False):
        if one.slot_name == other.slot_name:
            yield one.slot_variable_node_id, other.slot_variable_node_id
