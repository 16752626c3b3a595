"""Layers that work along time, wrap others, attend, or are mere arithmetic: one functional model a case.

Runs in the user's environment, like `layer_zoo.py`. A case that a version of Keras doesn't have gives None.
"""

import itertools

import operation_zoo

TOKENS = 20


def cases(keras):
    """Name -> a function that builds the model."""
    layers = keras.layers
    found = {}

    def chain(name, shape, *made, tokens=False):
        found[name] = lambda: _chain(keras, shape, made, tokens)

    steps, images, words = (6, 5), (4, 7, 6, 3), (6,)
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        for sequences, backwards in ((True, True), (False, False)):
            chain(
                f"{kind}-sequences-{sequences}-backwards-{backwards}",
                steps,
                lambda k=kind, s=sequences, b=backwards: getattr(layers, k)(4, return_sequences=s, go_backwards=b),
            )
        chain(
            f"{kind}-options",
            steps,
            lambda k=kind: getattr(layers, k)(4, activation="relu", use_bias=False, unroll=True, dropout=0.1),
        )
        chain(
            f"{kind}-masked",
            words,
            lambda: layers.Embedding(TOKENS, 5, mask_zero=True),
            lambda k=kind: getattr(layers, k)(4, return_sequences=True),
            lambda k=kind: getattr(layers, k)(3, go_backwards=True),
            tokens=True,
        )
        found[f"{kind}-states"] = lambda k=kind: _states(keras, k)
        for mode in ("concat", "sum", "ave", "mul") if kind == "LSTM" else ("concat",):
            chain(
                f"bidirectional-{kind}-{mode}",
                steps,
                lambda k=kind, m=mode: layers.Bidirectional(getattr(layers, k)(4, return_sequences=True), merge_mode=m),
                lambda k=kind, m=mode: layers.Bidirectional(getattr(layers, k)(3), merge_mode=m),
            )
    for after, activation in itertools.product((True, False), ("sigmoid", "hard_sigmoid")):
        chain(
            f"GRU-reset_after-{after}-{activation}",
            steps,
            lambda a=after, r=activation: layers.GRU(4, reset_after=a, recurrent_activation=r, return_sequences=True),
        )
    chain("LSTM-hard_sigmoid", steps, lambda: layers.LSTM(4, recurrent_activation="hard_sigmoid"))
    chain(
        "bidirectional-masked",
        words,
        lambda: layers.Embedding(TOKENS, 5, mask_zero=True),
        lambda: layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        lambda: layers.Bidirectional(layers.GRU(4)),
        tokens=True,
    )
    chain(
        "bidirectional-own-backward",
        steps,
        lambda: layers.Bidirectional(layers.LSTM(4), backward_layer=layers.GRU(4, go_backwards=True)),
    )
    chain("rnn-cell", steps, lambda: layers.RNN(layers.GRUCell(4), return_sequences=True))
    chain("rnn-stack", steps, lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(2)]))
    chain("masking", steps, lambda: layers.Masking(0.5), lambda: layers.LSTM(4))
    for padding, strides in itertools.product(("same", "valid"), (1, 2)):
        chain(
            f"conv_lstm-{padding}-{strides}",
            images,
            lambda p=padding, s=strides: layers.ConvLSTM2D(4, 3, strides=s, padding=p, return_sequences=True),
        )
    chain("conv_lstm-last", images, lambda: layers.ConvLSTM2D(4, (3, 2), padding="same", go_backwards=True))
    chain("time_distributed-dense", steps, lambda: layers.TimeDistributed(layers.Dense(4)))
    chain("time_distributed-conv", images, lambda: layers.TimeDistributed(layers.Conv2D(4, 3)))
    chain("time_distributed-norm", images, lambda: layers.TimeDistributed(layers.BatchNormalization()))
    chain("time_distributed-model", images, lambda: layers.TimeDistributed(_inner(keras)), lambda: layers.LSTM(3))
    chain(
        "masked-average",
        words,
        lambda: layers.Embedding(TOKENS, 5, mask_zero=True),
        lambda: layers.Dropout(0.1),
        lambda: layers.GlobalAveragePooling1D(),
        tokens=True,
    )
    chain(
        "masked-time_distributed",
        words,
        lambda: layers.Embedding(TOKENS, 5, mask_zero=True),
        lambda: layers.TimeDistributed(layers.Dense(4)),
        lambda: layers.LSTM(3),
        tokens=True,
    )
    for kind in ("Add", "Concatenate"):
        found[f"masked-{kind}"] = lambda k=kind: _merged_masks(keras, k)
    for name, options in {"plain": {}, "scaled": {"use_scale": True}, "causal": {"causal": True}}.items():
        for kind in ("Attention", "AdditiveAttention"):
            found[f"{kind}-{name}"] = lambda k=kind, o=options: _attention(keras, k, o)
    found["Attention-concat"] = lambda: _attention(keras, "Attention", {"score_mode": "concat"})
    found["heads"] = lambda: _heads(keras, {})
    found["heads-value-width"] = lambda: _heads(keras, {"value_dim": 3, "use_bias": False, "output_shape": 7})
    found["heads-cross"] = lambda: _cross_heads(keras)
    found["heads-causal"] = lambda: _heads(keras, {}, use_causal_mask=True)
    found["heads-masked"] = lambda: _masked_heads(keras)
    found["heads-gate"] = lambda: _heads(keras, {"use_gate": True, "value_dim": 3})
    found["heads-window"] = lambda: _heads(keras, {"sliding_window": 2}, use_causal_mask=True)
    for name, options in {"axes": {}, "axis": {"attention_axes": (1,)}}.items():
        found[f"heads-{name}"] = lambda o=options: _heads(keras, o, (3, 4, 5))
    for name, options in {"plain": {}, "gate": {"use_gate": True, "use_bias": False}}.items():
        found[f"grouped-{name}"] = lambda o=options: _grouped_heads(keras, o)
    found["reversible"] = lambda: _reversible(keras, tie_weights=True)
    found["reversible-untied"] = lambda: _reversible(keras, tie_weights=False, logit_soft_cap=2.0)
    for number, (equation, width, bias) in enumerate(
        (
            ("abc,cd->abd", (None, 4), "d"),
            ("abc,cde->abde", (None, 2, 4), "de"),
            ("abc,cde->abde", (None, 2, 4), "e"),
            ("...x,xy->...y", 4, None),
            ("abc,bd->adc", (4, 5), None),
        )
    ):
        chain(
            f"einsum-{number}",
            steps,
            lambda e=equation, w=width, b=bias: _einsum_dense(keras)(e, output_shape=w, bias_axes=b),
        )
    chain("rms_normalization", steps, lambda: layers.RMSNormalization())
    chain("rms_normalization-axes", (4, 5, 3), lambda: layers.RMSNormalization(axis=(2, 3)))
    chain("layer_normalization-rms", steps, lambda: layers.LayerNormalization(rms_scaling=True))
    for kind in ("Average", "Max"):
        chain(f"adaptive-{kind}", (9, 8, 3), lambda k=kind: getattr(layers, f"Adaptive{k}Pooling2D")((4, 3)))
    for name, options in {"": {}, "-matrix": {"implementation": 2}}.items():
        chain(f"local1d{name}", steps, lambda o=options: layers.LocallyConnected1D(4, 3, strides=2, **o))
        chain(f"local2d{name}", (9, 8, 3), lambda o=options: layers.LocallyConnected2D(4, (3, 2), (1, 2), **o))
    if not hasattr(keras, "ops"):  # Keras 3 on torch raises on it
        chain("layer_normalization-first-axis", (4, 5, 3), lambda: layers.LayerNormalization(axis=1))
    chain("global-keepdims", (4, 5, 3), lambda: layers.GlobalAveragePooling2D(keepdims=True))
    chain("depthwise1d", steps, lambda: layers.DepthwiseConv1D(3, padding="same", depth_multiplier=2))
    chain("conv1d_transpose", steps, lambda: layers.Conv1DTranspose(4, 3, strides=2, padding="same"))
    for mode in ("one_hot", "multi_hot", "count"):
        chain(f"category-{mode}", words, lambda m=mode: layers.CategoryEncoding(TOKENS, output_mode=m), tokens=True)
    chain("discretization", steps, lambda: layers.Discretization(bin_boundaries=[-1.0, 0.5, 1.0]))
    chain("augmentation", (8, 8, 3), lambda: layers.RandomFlip(), lambda: layers.RandomRotation(0.1))
    chain("center_crop", (8, 7, 3), lambda: layers.CenterCrop(4, 4))
    prepared = layers if hasattr(layers, "Resizing") else layers.experimental.preprocessing
    chain("resizing-area", (8, 6, 3), lambda: prepared.Resizing(4, 3, interpolation="area"))
    chain("resizing-lanczos", (8, 6, 3), lambda: prepared.Resizing(4, 9, interpolation="lanczos3"))
    chain("resizing-crop", (8, 6, 3), lambda: layers.Resizing(4, 4, crop_to_aspect_ratio=True))
    if hasattr(layers, "IntegerLookup") and not hasattr(keras, "ops"):  # in Keras 3 it asks for TensorFlow
        chain("random_crop", (8, 7, 3), lambda: layers.RandomCrop(5, 6))
        for name, options in {"": {}, "-masked": {"mask_token": 0}}.items():
            chain(
                f"lookup{name}", words, lambda o=options: layers.IntegerLookup(vocabulary=[3, 7, 1], **o), tokens=True
            )
    found["dictionaries"] = lambda: _dictionaries(keras)
    found["shared-recurrent"] = lambda: _shared(keras)
    for name, (shape, compute) in operation_zoo.operations(keras).items():
        found[f"operation-{name}"] = lambda s=shape, c=compute: _computed(keras, s, c)
    return found


def _input(keras, shape, tokens=False, **named):
    return keras.Input(shape, **named) if not tokens else keras.Input(shape, **{"name": "tokens", **named})


def _chain(keras, shape, made, tokens):
    first = x = _input(keras, shape, tokens)
    for make in made:
        x = make()(x)
    return keras.Model(first, x)


def _states(keras, kind):
    """A layer that gives its states to another, which begins with them."""
    layers = keras.layers
    first, second = keras.Input((6, 5)), keras.Input((4, 3))
    sequence, *states = getattr(layers, kind)(4, return_sequences=True, return_state=True)(first)
    y = getattr(layers, kind)(4)(second, initial_state=states)
    return keras.Model([first, second], [sequence, y, *states])


def _inner(keras):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((7, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    )


def _merged_masks(keras, kind):
    layers = keras.layers
    words, others = _input(keras, (6,), True), _input(keras, (6,), True, name="tokens_2")
    one = layers.Embedding(TOKENS, 5, mask_zero=True)(words)
    two = layers.Embedding(TOKENS, 5, mask_zero=True)(others)
    return keras.Model([words, others], layers.LSTM(3)(getattr(layers, kind)()([one, two])))


def _attention(keras, kind, options):
    layers = keras.layers
    words, others = _input(keras, (6,), True), keras.Input((4, 5))
    query = layers.Embedding(TOKENS, 5, mask_zero=True)(words)
    value = layers.Dense(5)(others)
    if "causal" in options and keras.__version__ != "2.4.0":  # an option of the call since TensorFlow 2.12
        return keras.Model([words, others], getattr(layers, kind)()([query, value], use_causal_mask=True))
    return keras.Model([words, others], getattr(layers, kind)(**options)([query, value]))


def _grouped_heads(keras, options):
    x, z = keras.Input((6, 8)), keras.Input((4, 8))
    return keras.Model([x, z], keras.layers.GroupQueryAttention(3, 6, 2, **options)(x, z))


def _reversible(keras, **options):
    words = _input(keras, (6,), True)
    both = keras.layers.ReversibleEmbedding(TOKENS, 5, **options)
    return keras.Model(words, both(keras.layers.Dense(5, activation="relu")(both(words)), reverse=True))


def _heads(keras, options, shape=(6, 5), **call):
    x = keras.Input(shape)
    y = keras.layers.Dense(5)(x)
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 4, **options)(y, y, **call))


def _cross_heads(keras):
    x, z = keras.Input((6, 5)), keras.Input((4, 3))
    return keras.Model([x, z], keras.layers.MultiHeadAttention(3, 4)(x, z, return_attention_scores=True))


def _masked_heads(keras):
    layers = keras.layers
    words = _input(keras, (6,), True)
    x = layers.Embedding(TOKENS, 5, mask_zero=True)(words)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    return keras.Model(words, layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x)))


def _einsum_dense(keras):
    experimental = getattr(keras.layers, "experimental", None)
    return getattr(keras.layers, "EinsumDense", None) or experimental.EinsumDense


def _dictionaries(keras):
    layers = keras.layers
    image, number = keras.Input((6,), name="image"), keras.Input((3,), name="a_number")
    x = layers.Concatenate()([layers.Dense(4)(image), number])
    outputs = {"z": layers.Dense(2)(x), "a": layers.Dense(3)(x)}
    return keras.Model({"image": image, "a_number": number}, outputs)


def _shared(keras):
    layers = keras.layers
    one, two = keras.Input((6, 5)), keras.Input((4, 5))
    read = layers.Bidirectional(layers.GRU(4))
    return keras.Model([one, two], layers.Dense(2)(layers.Subtract()([read(one), read(two)])))


def _computed(keras, shape, compute):
    """A dense layer, and an operation on what it gives."""
    x = keras.Input(shape)
    return keras.Model(x, compute(keras.layers.Dense(shape[-1])(x)))
