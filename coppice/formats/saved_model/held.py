"""Layers that Keras itself makes inside another one: no configuration states them, their owner's sizes tell theirs.

The cell of an LSTM, the projections of an attention layer. What a user puts inside a layer (TimeDistributed,
Bidirectional) has an entry in the configuration and is not meant here.
"""

from __future__ import annotations

from collections.abc import Callable

from coppice.formats.saved_model.sizes import Call, LayerSizes, Shape

#: From the layer around it to the one inside.
Rule = Callable[[LayerSizes], LayerSizes]


def _cell(width: str) -> Rule:
    """Of a recurrent layer; the configuration calls the width of its state `width`."""

    def rule(owner: LayerSizes) -> LayerSizes:
        samples, _time, *step = owner.calls[0].inputs[0]
        states = owner.arrays["recurrent_kernel"][-2]
        call = Call(inputs=((samples, *step),), outputs=((samples, *step[:-1], states),))
        return LayerSizes(
            kind=f"{owner.kind}Cell", calls=(call,), arrays=owner.arrays, entry={"config": {width: states}}
        )

    return rule


def _projection(name: str) -> Rule:
    """Of the query, the key or the value onto heads."""

    def rule(owner: LayerSizes) -> LayerSizes:
        into, *heads = owner.arrays[f"{name}_kernel"]
        return _einsum_dense(owner, (into,), tuple(heads))

    return rule


def _output(owner: LayerSizes) -> LayerSizes:
    *heads, width = owner.arrays["attention_output_kernel"]
    return _einsum_dense(owner, tuple(heads), (width,))


def _einsum_dense(owner: LayerSizes, taken: Shape, given: Shape) -> LayerSizes:
    """Its configuration leaves the axes of the steps open."""
    steps = owner.calls[0].inputs[0][:-1]
    call = Call(inputs=((*steps, *taken),), outputs=((*steps, *given),))
    stated = [*(None for _ in steps[1:]), *given]
    return LayerSizes(kind="EinsumDense", calls=(call,), entry={"config": {"output_shape": stated}})


def _same(kind: str) -> Rule:
    """A layer without sizes of its own."""
    return lambda _owner: LayerSizes(kind=kind, entry={"config": {}})


#: Classes without sizes of their own, which a layer may hold for its activation.
SIZELESS = frozenset({"Activation", "ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU"})
#: (class of the layer around it, edge by which that holds it) -> its sizes.
HELD: dict[tuple[str, str], Rule] = {
    **{(kind, "cell"): _cell("units") for kind in ("LSTM", "GRU", "SimpleRNN")},
    **{(f"ConvLSTM{rank}D", "cell"): _cell("filters") for rank in (1, 2, 3)},
    **{("MultiHeadAttention", f"_{name}_dense"): _projection(name) for name in ("query", "key", "value")},
    ("MultiHeadAttention", "_output_dense"): _output,
    ("MultiHeadAttention", "_softmax"): _same("Softmax"),
    ("MultiHeadAttention", "_dropout_layer"): _same("Dropout"),
}
