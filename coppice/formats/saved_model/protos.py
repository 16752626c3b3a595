"""The protocol buffers of a SavedModel, as far as they are read or edited; no TensorFlow.

Fields that are not listed here stay in a message as unknown fields and are written back as they were, so a file of
a version that has more of them loses nothing. Numbers and names are those of tensorflow/core/{framework,protobuf}
and keras/protobuf/saved_metadata.proto. The syntax is proto2 on purpose: it keeps an explicit zero, which AttrValue's
`oneof` writes and proto3's plain fields would drop.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from coppice.errors import TruncatedFile

_PACKAGE = "coppice.saved_model"

#: message -> lines of "type name = number"; `*` repeats, `{T}` is map<string, T>.
_MESSAGES = {
    "SavedModel": "*MetaGraphDef meta_graphs = 2",
    "MetaGraphDef": """
        MetaInfoDef meta_info_def = 1
        GraphDef graph_def = 2
        {SignatureDef} signature_def = 5
        SavedObjectGraph object_graph_def = 7""",
    "MetaInfoDef": "string tensorflow_version = 5",
    "SignatureDef": "string method_name = 3",
    "GraphDef": """
        *NodeDef node = 1
        FunctionDefLibrary library = 2""",
    "FunctionDefLibrary": """
        *FunctionDef function = 1
        *GradientDef gradient = 2
        *RegisteredGradient registered_gradients = 3""",
    "GradientDef": """
        string function_name = 1
        string gradient_func = 2""",
    "RegisteredGradient": "string gradient_func = 1",
    "FunctionDef": """
        OpDef signature = 1
        *NodeDef node_def = 3
        {AttrValue} attr = 5
        *ArgumentEntry arg_attr = 7""",
    "OpDef": "string name = 1",
    "ArgumentEntry": """
        int32 key = 1
        ArgumentAttributes value = 2""",
    "ArgumentAttributes": "{AttrValue} attr = 1",
    "NodeDef": """
        string name = 1
        string op = 2
        *string input = 3
        {AttrValue} attr = 5""",
    "AttrValue": """
        AttrList list = 1
        bytes s = 2
        int32 type = 6
        TensorShapeProto shape = 7
        TensorProto tensor = 8
        NameAttrList func = 10""",
    "AttrList": """
        *TensorShapeProto shape = 7
        *NameAttrList func = 9""",
    "NameAttrList": "string name = 1",
    "TensorShapeProto": """
        *Dimension dim = 2
        bool unknown_rank = 3""",
    "Dimension": "int64 size = 1",
    "TensorProto": """
        int32 dtype = 1
        TensorShapeProto tensor_shape = 2
        bytes tensor_content = 4
        *float float_val = 5
        *int32 int_val = 7
        *int64 int64_val = 10""",
    "SavedObjectGraph": """
        *SavedObject nodes = 1
        {SavedConcreteFunction} concrete_functions = 2""",
    "SavedObject": """
        *ObjectReference children = 1
        *SlotVariableReference slot_variables = 3
        SavedUserObject user_object = 4
        SavedFunction function = 6
        SavedVariable variable = 7
        SavedBareConcreteFunction bare_concrete_function = 8""",
    "ObjectReference": """
        int32 node_id = 1
        string local_name = 2""",
    "SlotVariableReference": """
        int32 original_variable_node_id = 1
        string slot_name = 2
        int32 slot_variable_node_id = 3""",
    "SavedUserObject": """
        string identifier = 1
        string metadata = 3""",
    "SavedFunction": "*string concrete_functions = 1",
    "SavedBareConcreteFunction": "string concrete_function_name = 1",
    "SavedVariable": """
        int32 dtype = 1
        TensorShapeProto shape = 2
        string name = 6""",
    "SavedConcreteFunction": """
        StructuredValue canonicalized_input_signature = 3
        StructuredValue output_signature = 4""",
    # struct.proto: the fields that hold other values, and the two that hold a shape.
    "StructuredValue": """
        TensorShapeProto tensor_shape_value = 31
        TensorSpecProto tensor_spec_value = 33
        StructuredValues list_value = 51
        StructuredValues tuple_value = 52
        StructuredMap dict_value = 53""",
    "StructuredValues": "*StructuredValue values = 1",
    "StructuredMap": "{StructuredValue} fields = 1",
    "TensorSpecProto": """
        string name = 1
        TensorShapeProto shape = 2""",
    # trackable_object_graph.proto: which key of the bundle holds which object.
    "TrackableObjectGraph": "*TrackableObject nodes = 1",
    "TrackableObject": """
        *ObjectReference children = 1
        *SerializedTensor attributes = 2
        *SlotVariableReference slot_variables = 3""",
    "SerializedTensor": """
        string name = 1
        string checkpoint_key = 3""",
    # tensor_bundle.proto
    "BundleHeaderProto": """
        int32 num_shards = 1
        int32 endianness = 2""",
    "BundleEntryProto": """
        int32 dtype = 1
        TensorShapeProto shape = 2
        int32 shard_id = 3
        int64 offset = 4
        int64 size = 5
        fixed32 crc32c = 6
        *TensorSliceProto slices = 7""",
    "TensorSliceProto": "",
    # keras/protobuf/saved_metadata.proto
    "SavedMetadata": "*KerasObject nodes = 1",
    "KerasObject": """
        int32 node_id = 2
        string node_path = 3
        string identifier = 4
        string metadata = 5""",
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "fixed32": _Field.TYPE_FIXED32,
    "float": _Field.TYPE_FLOAT,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

#: A message of one of these types. Its fields are known to protobuf at run time only.
Message = Any


def read(kind: str, content: bytes, shown: str) -> Message:
    """Parse bytes as one of the messages above; raises TruncatedFile with the file's name."""
    parsed = _CLASSES[kind]()
    try:
        parsed.ParseFromString(content)
    except message.DecodeError as e:
        raise TruncatedFile(f"{shown} is damaged: it does not parse as {kind}. Save and zip the model again.") from e
    return parsed


def new(kind: str, **fields: object) -> Message:
    """A new message."""
    return _CLASSES[kind](**fields)


def write(edited: Message) -> bytes:
    """The bytes of a message; the same message gives the same bytes, so the same job gives the same file."""
    content: bytes = edited.SerializeToString(deterministic=True)
    return content


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for name, text in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for line in text.strip().splitlines():
            type_name, field_name, _, number = line.split()
            _add_field(described, type_name, field_name, int(number))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


def _add_field(described: descriptor_pb2.DescriptorProto, type_name: str, name: str, number: int) -> None:
    repeated = type_name.startswith(("*", "{"))
    if type_name.startswith("{"):
        entry = described.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "string", "key", 1)
        _add_field(entry, type_name[1:-1], "value", 2)
        type_name = f"{described.name}.{entry.name}"
    bare = type_name.removeprefix("*")
    field = described.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field.type = _SCALARS.get(bare, _Field.TYPE_MESSAGE)
    if bare not in _SCALARS:
        field.type_name = f".{_PACKAGE}.{bare}"
    elif repeated and bare not in ("string", "bytes"):
        field.options.packed = True  # what proto3, in which TensorFlow writes, does by default


_CLASSES = _classes()
