"""Layers around another one: Bidirectional and TimeDistributed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.configuration import Config, Entry
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, masked
from coppice.keras_layers.recurrent import ZEROED
from coppice.keras_layers.table import Part, keras_layer
from coppice.keras_layers.tree import replaced, tensors_in

_FORWARD, _BACKWARD, _WRAPPED = "forward_layer", "backward_layer", "layer"

_MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda ahead, back: torch.cat([ahead, back], dim=-1),
    "sum": lambda ahead, back: ahead + back,
    "ave": lambda ahead, back: (ahead + back) / 2,
    "mul": lambda ahead, back: ahead * back,
}


def _both_ways(config: Mapping[str, Any], _dialect: Dialect) -> tuple[Part, ...]:
    """The layer that the file names, and one that reads backwards: its own, or the first with a switch turned."""
    ahead: Entry = config["layer"]
    back: Entry = config.get("backward_layer") or _turned(ahead)
    return Part(_FORWARD, ahead, _FORWARD), Part(_BACKWARD, back, _BACKWARD)


def _turned(entry: Entry) -> Entry:
    config = entry["config"]
    return {**entry, "config": {**config, "go_backwards": not config.get("go_backwards", False)}}


def _inner_config(layer: KerasLayer) -> Config:
    config: Config = layer.config["layer"]["config"]
    return config


def _sequence_mask(layer: KerasLayer, inputs: Any) -> Tensor | None:
    return mask_of(tensors_in(inputs)[0]) if _inner_config(layer).get("return_sequences") else None


@keras_layer("Bidirectional", masks=_sequence_mask, parts=_both_ways)
def bidirectional(layer: KerasLayer, inputs: Any, initial_state: Any = None, **_named: Any) -> Any:
    """One layer reads the sequence, another reads it backwards; what they give is merged step by step."""
    sequence, *beside = tensors_in(inputs)
    states = tensors_in(initial_state) or beside
    half = len(states) // 2
    sequences = bool(_inner_config(layer).get("return_sequences"))
    # Since Keras 2.5 a masked step gives zero here, whatever the wrapped layer does by itself.
    asked = {ZEROED: sequences} if layer.dialect.release >= (2, 5) else {}
    ahead, *states_ahead = tensors_in(layer.part(_FORWARD)(sequence, initial_state=states[:half], **asked))
    back, *states_back = tensors_in(layer.part(_BACKWARD)(sequence, initial_state=states[half:], **asked))
    if sequences:
        back = back.flip(1)
    if "backward_layer" not in layer.config:
        # One number of units stands for both in the file, so both must lose equally many.
        ahead, back = torch.cat([ahead, back], dim=-1).chunk(2, dim=-1)
    mode = layer.config.get("merge_mode", "concat")
    merged = [ahead, back] if mode is None else [_MERGES[mode](ahead, back)]
    result = [*merged, *states_ahead, *states_back]
    return result[0] if len(result) == 1 else result


def _every_step(config: Mapping[str, Any], _dialect: Dialect) -> tuple[Part, ...]:
    return (Part(_WRAPPED, config["layer"], _WRAPPED),)


@keras_layer("TimeDistributed", masks=None, parts=_every_step)
def time_distributed(layer: KerasLayer, inputs: Any, **_named: Any) -> Any:
    """The wrapped layer or model at every step, all steps as one batch."""
    first = tensors_in(inputs)[0]
    samples, steps = first.shape[:2]
    result = layer.part(_WRAPPED)(replaced(inputs, Tensor, _one_batch))

    def by_step(x: Tensor) -> Tensor:
        made = mask_of(x)
        whole = x.reshape(samples, steps, *x.shape[1:])
        if layer.dialect.generation is Generation.KERAS_3:
            return masked(whole, mask_of(first))
        return masked(whole, _of_steps(mask_of(first)) if made is None else made.reshape(samples, steps, -1))

    return replaced(result, Tensor, by_step)


def _one_batch(x: Tensor) -> Tensor:
    """Steps as samples; of a mask, what it says within a step."""
    mask = mask_of(x)
    inner = mask.flatten(0, 1) if mask is not None and mask.dim() > 2 else None
    return masked(x.reshape(-1, *x.shape[2:]), inner)


def _of_steps(mask: Tensor | None) -> Tensor | None:
    """One value a step: it is real where anything in it is."""
    return mask if mask is None or mask.dim() == 2 else mask.flatten(2).any(dim=-1)
