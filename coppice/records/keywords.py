"""What a function of the library, or a call of the client, may be told by keyword: types of `**options`.

Not here: how each is read (`records.texts`), what it means (`records.request`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Shape(TypedDict, total=False):
    """What may go of which layer: what `inspect` may be told beside the model and how much would go."""

    omit: Sequence[str]  # layers that keep their output channels: names, prefixes or globs
    ratios: Mapping[str, float]  # layer, prefix or glob -> its own share, in place of `percent`
    keep: Mapping[str, Sequence[int]]  # layer -> numbers of output channels that stay
    round_to: int  # widths that are cut become multiples of it
    heads: str  # of attention: "width" makes every head narrower, "whole" removes heads


class Options(Shape, total=False):
    """How a model is cut: what `prune` and `sweep` may be told beside the model and how much of it is to go."""

    criterion: str  # "auto" is "obs" where there are samples and "l1" where there are none
    spread: str  # "uniform": every group loses the same share; "global": taken where the model misses it least
    target: str  # what `percent` is a share of: "channels", "params", "macs", "bytes" or "latency"
    restore: bool  # repair the kept weights where there are samples; it is so unless said otherwise
    seed: int


class Numbers(TypedDict, total=False):
    """How numbers are kept: what `quantize` may be told beside the model and the precision."""

    weights: str  # of the weights alone
    biases: str  # of the biases alone
    activations: str  # of what flows through the model alone
    layers: Mapping[str, str]  # layer, prefix or glob -> precision of its weights
    rounding: str  # "auto" is "gptq" where there are samples and "nearest" where there are none
    format: str  # "onnx", "tflite" or "safetensors"
    max_drop: float  # layers are raised to more bits until no more than that of the accuracy is lost
    seed: int


class Sweeping(Options, total=False):
    """What `sweep` may be told beside the model, the ratios and the precisions."""

    biases: str  # these five as in `Numbers`, of every precision
    activations: str
    layers: Mapping[str, str]
    rounding: str
    format: str


#: Keyword -> attribute of `Request`, where their names differ.
ATTRIBUTES: Mapping[str, str] = {"format": "output_format"}
