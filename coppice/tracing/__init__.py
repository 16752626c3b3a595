"""Watching one forward pass: every ATen operator with its real arguments, and the labels that flow through them."""

from coppice.tracing.call import Call, Rule
from coppice.tracing.network import Layer, Network, Resizable, fade, stored
from coppice.tracing.places import put
from coppice.tracing.tracer import Traced, blame, forward, trace, training

__all__ = [
    "Call",
    "Layer",
    "Network",
    "Resizable",
    "Rule",
    "Traced",
    "blame",
    "fade",
    "forward",
    "put",
    "stored",
    "trace",
    "training",
]
