"""Which stored array is which array of which layer.

Keras loads by order, and so does this: a layer's arrays come in the order of its row in the table, a nested model's
with the trainable ones of all its layers first. Names in the file confirm the order and never replace it, because they
often lie: a renamed layer's arrays keep the old name. Only where order can't be right (an unknown layer inside a
nested model) do names decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from coppice.errors import ModelInvalid
from coppice.keras_layers.configuration import Entry, class_name, is_model, named_entries
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.rows import parts_of, row_of

LayerPath = tuple[str, ...]
NamedArray = tuple[str, NDArray[Any]]
#: Path of a layer or of a nested model -> its stored arrays, in file order.
Shelf = Mapping[LayerPath, Sequence[NamedArray]]

#: Where an array stands on the shelf: the path and the position there.
Place = tuple[LayerPath, int]


@dataclass(frozen=True, slots=True)
class Slot:
    """One array that the configuration calls for."""

    path: LayerPath
    variable: str
    trainable: bool


def bind(model: Entry, shelf: Shelf, dialect: Dialect) -> dict[LayerPath, dict[str, Place]]:
    """For every layer of the model, nested ones included, where each of its arrays stands."""
    bound: dict[LayerPath, dict[str, Place]] = {}
    for path, entry in _shelved(model, shelf, (), dialect):
        slots = list(_slots(entry, path, dialect))
        places = _placed(slots, path, shelf[path], entry)
        for layer_path, variable, place in places:
            bound.setdefault(layer_path, {})[variable] = place
    _all_present(model, bound, dialect)
    return bound


def _shelved(model: Entry, shelf: Shelf, prefix: LayerPath, dialect: Dialect) -> Iterator[tuple[LayerPath, Entry]]:
    """The outermost layers and models that have a place on the shelf."""
    for name, entry in _inside(model, prefix, dialect):
        path = (*prefix, name)
        if path in shelf:
            yield path, entry
        else:
            yield from _shelved(entry, shelf, path, dialect)


def _inside(entry: Entry, path: LayerPath, dialect: Dialect) -> list[tuple[str, Entry]]:
    """The layers of a model, or the parts of a layer."""
    if is_model(entry):
        return named_entries(entry)
    return [(part.name, part.entry) for part in parts_of(entry, path[-1], dialect)]


def _slots(entry: Entry, path: LayerPath, dialect: Dialect) -> Iterator[Slot]:
    """The arrays of a layer or of all layers in it, in the order in which Keras 2 and 3 save them."""
    inner = [slot for leaf_path, leaf in _leaves(entry, path, dialect) for slot in _own_slots(leaf, leaf_path, dialect)]
    if not _inside(entry, path, dialect):
        yield from inner
        return
    yield from (slot for slot in inner if slot.trainable)
    yield from (slot for slot in inner if not slot.trainable)


def _leaves(entry: Entry, path: LayerPath, dialect: Dialect) -> Iterator[tuple[LayerPath, Entry]]:
    """The layers that hold arrays themselves; the entry itself where it holds no others."""
    if not is_model(entry):
        yield path, entry
    for name, inner in _inside(entry, path, dialect):
        yield from _leaves(inner, (*path, name), dialect)


def _own_slots(entry: Entry, path: LayerPath, dialect: Dialect) -> Iterator[Slot]:
    row = row_of(entry, path[-1])
    if row is None:
        return
    for variable in row.variables(entry["config"], dialect):
        trainable = entry["config"].get("trainable", True) is not False and variable not in row.statistics
        yield Slot(path, variable, trainable)


def _placed(
    slots: list[Slot], path: LayerPath, arrays: Sequence[NamedArray], entry: Entry
) -> Iterator[tuple[LayerPath, str, Place]]:
    if not is_model(entry) and not slots:  # an unknown layer: its arrays ride along under their own names
        for position, (name, array) in enumerate(arrays):
            if array.dtype.kind in "fiub":  # a vocabulary of texts is no tensor, and stays in the file as it is
                yield path, f"array_{position}_{_last_part(name)}", (path, position)
        return
    if len(slots) == len(arrays) and all(
        _agree(slot.variable, name) for slot, (name, _) in zip(slots, arrays, strict=True)
    ):
        for position, slot in enumerate(slots):
            yield slot.path, slot.variable, (path, position)
        return
    if not is_model(entry):
        raise ModelInvalid(
            f"layer {path[-1]!r} ({class_name(entry)}) has the arrays {[name for name, _ in arrays]} in the file; its "
            f"configuration means {[slot.variable for slot in slots]}."
        )
    for slot in slots:
        yield slot.path, slot.variable, (path, _by_name(slot, arrays))


def _by_name(slot: Slot, arrays: Sequence[NamedArray]) -> int:
    found = [
        position
        for position, (name, _) in enumerate(arrays)
        if _agree(slot.variable, name) and slot.path[-1] in (name.rsplit("/", 1)[0], _owner(name))
    ]
    if len(found) != 1:
        raise ModelInvalid(
            f"can't tell which array of {'/'.join(slot.path[:-1])} is the {slot.variable} of {slot.path[-1]}."
        )
    return found[0]


def _owner(name: str) -> str:
    """`model/block1_conv1/kernel:0` belongs to `block1_conv1`."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else ""


def _last_part(name: str) -> str:
    """`conv2d/kernel:0` is a kernel."""
    return name.rsplit("/", 1)[-1].split(":", 1)[0]


def _agree(variable: str, stored: str) -> bool:
    """Whether a stored name may be that variable: numbered names say nothing, others end in the variable's name."""
    last = _last_part(stored)
    if last.isdigit() or last.startswith(("Variable", "variable")):
        return True
    return last == variable or variable.endswith(f"_{last}") or last.startswith(f"{variable}_")


def _all_present(model: Entry, bound: Mapping[LayerPath, Mapping[str, Place]], dialect: Dialect) -> None:
    for path, entry in _leaves(model, (), dialect):
        missing = {slot.variable for slot in _own_slots(entry, path, dialect)} - set(bound.get(path, {}))
        if missing:
            raise ModelInvalid(
                f"layer {'/'.join(path)!r} ({class_name(entry)}) lacks its {', '.join(sorted(missing))}."
            )
