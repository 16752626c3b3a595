"""SavedModel folders opened, edited by hand and zipped again, and every place that states a variable's shape."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from coppice.formats.saved_model.bundle import HEADER, INDEX, read_bundle, shard_name
from coppice.formats.saved_model.objects import read_objects
from coppice.formats.saved_model.protos import Message, new, read, write
from coppice.formats.saved_model.table import write_table

Files = dict[str, bytes]
TOP = "tiny/"


def files_of(archive: Path) -> Files:
    """The files of the zip by their names below the folder."""
    with zipfile.ZipFile(archive) as opened:
        return {
            name.removeprefix(TOP): opened.read(name)
            for name in opened.namelist()
            if name.startswith(TOP) and not name.endswith("/")
        }


def zipped(files: Files, path: Path) -> Path:
    """A zip of these files."""
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(f"{TOP}{name}", content)
    return path


def sharded(files: Files, count: int) -> Files:
    """The files with their variables dealt out to several shards, as a checkpoint of several hosts has them."""
    bundle = read_bundle("test", files.__getitem__)
    header = new("BundleHeaderProto")
    header.CopyFrom(bundle.header)
    header.num_shards = count
    records, shards = {HEADER: write(header)}, [b""] * count
    for number, (key, old) in enumerate(bundle.entries.items()):
        entry = new("BundleEntryProto")
        entry.CopyFrom(old)
        entry.shard_id, entry.offset = number % count, len(shards[number % count])
        shards[number % count] += bundle.raw(key)
        records[key.encode()] = write(entry)
    others = {name: content for name, content in files.items() if not name.startswith("variables/")}
    named = {shard_name(number, count): shard for number, shard in enumerate(shards)}
    return {**others, INDEX: write_table(records), **named}


def graph_of(files: Files) -> Message:
    """The parsed saved_model.pb."""
    return read("SavedModel", files["saved_model.pb"], "test")


def with_graph(files: Files, edit: Callable[[Message], None]) -> Files:
    """The files with an edited saved_model.pb."""
    model = graph_of(files)
    edit(model.meta_graphs[0])
    return {**files, "saved_model.pb": write(model)}


def shapes_by_variable(files: Files) -> dict[str, set[tuple[int, ...]]]:
    """Name of a variable -> every shape that the object graph, the handle and the bundle state for it."""
    saved = read_objects("test", frozenset(files), files.__getitem__)
    bundle = read_bundle("test", files.__getitem__)
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for number, node in enumerate(saved.nodes):
        if node.HasField("variable"):
            stated = [_sizes(node.variable.shape), bundle.array(saved.keys[number]).shape]
            shapes.setdefault(node.variable.name, set()).update(stated)
    for node in saved.graph.graph_def.node:
        name = node.attr["shared_name"].s.decode()
        if node.op == "VarHandleOp" and name in shapes:
            shapes[name].add(_sizes(node.attr["shape"].shape))
    return shapes


def _sizes(shape: Message) -> tuple[int, ...]:
    return tuple(dimension.size for dimension in shape.dim)
