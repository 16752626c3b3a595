"""Recurrent layers: cells run along time, written as an explicit loop so that every step is seen.

Dropouts are left out: they act in training only and move no channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.cells import States, advance, held, project, states_of, units, variables
from coppice.keras_layers.configuration import Entry, class_name, layer_name, plain
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed_with_sequences
from coppice.keras_layers.table import Part, keras_layer
from coppice.keras_layers.tree import tensors_in

#: From one step's input and the states before it: the step's output and the states after it.
Advance = Callable[[Any, States], tuple[Tensor, States]]


#: How a layer that wraps a recurrent one asks it for zero where a step is masked.
ZEROED = "zero_output_for_mask"


def run(
    layer: KerasLayer, steps: Sequence[Tensor], mask: Tensor | None, states: States, go: Advance, *, zeroed: bool
) -> Any:
    """The loop over time, and of its results what the configuration asks for: the sequence or its end, the states.

    Where the mask says that a step isn't real, states stay, and the output is that of the step before, or zero.
    """
    config = layer.config
    real: Sequence[Tensor | None] = [None] * len(steps) if mask is None else mask.unbind(1)
    times = range(len(steps))
    outputs: list[Tensor] = []
    for time in reversed(times) if config.get("go_backwards") else times:
        output, after = go(steps[time], states)
        previous = outputs[-1] if outputs and not zeroed else None
        outputs.append(held(output, previous, real[time]))
        before = states or (None,) * len(after)
        states = tuple(
            None if new is None else held(new, old, real[time]) for new, old in zip(after, before, strict=True)
        )
    result = torch.stack(outputs, dim=1) if config.get("return_sequences") else outputs[-1]
    return [result, *(state for state in states if state is not None)] if config.get("return_state") else result


def sequence_and_states(layer: KerasLayer, inputs: Any, initial: Any, count: int) -> tuple[Tensor, States]:
    """The sequence and the states to begin with, which come beside it in a list or as `initial_state`."""
    sequence, *beside = tensors_in(inputs)
    stated = tensors_in(initial) or beside
    if len(stated) not in (0, count) or layer.config.get("time_major"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} ({layer.class_name}) is called with {len(stated)} states (it has {count}), "
            "with constants, or with time as the first axis. Call it with a sequence and its own states only.",
            field=layer.layer_name,
        )
    return sequence, tuple(stated) or (None,) * count


def _recurrent(layer: KerasLayer, cells: Sequence[KerasLayer], inputs: Any, named: Mapping[str, Any]) -> Any:
    sequence, states = sequence_and_states(layer, inputs, named.get("initial_state"), states_of(cells))
    steps = project(cells[0], sequence).unbind(1)
    zeroed = bool(named.get(ZEROED, layer.config.get(ZEROED)))
    return run(
        layer, steps, mask_of(sequence), states, lambda step, before: advance(cells, step, before), zeroed=zeroed
    )


@keras_layer(
    "LSTM",
    "GRU",
    "SimpleRNN",
    variables=variables,
    sizes=units,
    masks=passed_with_sequences,
    groups=("cell",),
)
def recurrent(layer: KerasLayer, inputs: Any, **named: Any) -> Any:
    """A layer that is one cell run along time."""
    return _recurrent(layer, [layer], inputs, named)


@keras_layer("LSTMCell", "GRUCell", "SimpleRNNCell", variables=variables, sizes=units)
def cell_alone(layer: KerasLayer, *_inputs: Any, **_named: Any) -> Any:
    """A cell computes a step of the layer that holds it, and nothing by itself."""
    raise UnsupportedLayer(
        f"layer {layer.layer_name!r} ({layer.class_name}) stands outside of an RNN. Put it into RNN(...).",
        field=layer.layer_name,
    )


#: What a `.keras` archive calls the cells of a stack, by class; the second of one class ends in _1.
_CELL_GROUPS = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SimpleRNNCell": "simple_rnn_cell"}


def _cells(config: Mapping[str, Any], _dialect: Dialect) -> tuple[Part, ...]:
    """The cell of an RNN, or the cells that it stacks."""
    entry: Entry = config["cell"]
    if class_name(entry) != "StackedRNNCells":
        return (Part(layer_name(entry, 0), _known_cell(entry, config), "cell"),)
    parts: list[Part] = []
    times: Counter[str] = Counter()
    for number, cell in enumerate(entry["config"]["cells"]):
        group = _CELL_GROUPS[class_name(_known_cell(cell, config))]
        suffix = f"_{times[group]}" if times[group] else ""
        times[group] += 1
        parts.append(Part(layer_name(cell, number), cell, f"cell/cells/{group}{suffix}"))
    return tuple(parts)


def _known_cell(entry: Entry, config: Mapping[str, Any]) -> Entry:
    if class_name(entry) not in _CELL_GROUPS:
        raise UnsupportedLayer(
            f"layer {config.get('name')!r} (RNN) runs a {class_name(entry)}, which Coppice can't compute. "
            "Use a cell of Keras.",
            field=str(config.get("name")),
        )
    return entry


def _cells_in(layer: KerasLayer) -> list[KerasLayer]:
    return [cell for cell in layer.children() if isinstance(cell, KerasLayer)]


def _follow_inputs(layer: KerasLayer) -> None:
    """What Keras 3 notes of a cell's input. No cell is called by itself, so its own kernel tells."""
    cells = _cells_in(layer)
    for entry, cell in [(layer.config["cell"], cells[0]), *((cell.entry, cell) for cell in cells)]:
        record = entry.get("build_config")
        stated = plain(record.get("input_shape")) if isinstance(record, dict) else None
        if isinstance(record, dict) and isinstance(stated, list):
            record["input_shape"] = [*stated[:-1], cell.array("kernel").shape[0]]


@keras_layer("RNN", masks=passed_with_sequences, parts=_cells, follow=_follow_inputs)
def recurrent_cells(layer: KerasLayer, inputs: Any, **named: Any) -> Any:
    """A layer that runs a cell, or cells on top of each other."""
    return _recurrent(layer, _cells_in(layer), inputs, named)
