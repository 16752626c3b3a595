"""Layers that work along time, wrap others, attend, or are mere arithmetic: one functional model a case.

Runs in the user's environment, like `layer_zoo.py`. A case that a version of Keras doesn't have gives None.
"""

import itertools

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
    found["dictionaries"] = lambda: _dictionaries(keras)
    found["shared-recurrent"] = lambda: _shared(keras)
    for name, compute in _arithmetic(keras).items():
        found[f"operation-{name}"] = lambda c=compute: _computed(keras, c)
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


def _heads(keras, options, **call):
    x = keras.Input((6, 5))
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


def _computed(keras, compute):
    """A dense layer, an operation, a dense layer: over a tensor (samples, 4, 6)."""
    x = keras.Input((4, 6))
    y = compute(keras.layers.Dense(6)(x))
    return keras.Model(x, keras.layers.Dense(2)(y) if len(y.shape) > 1 else y)


def _arithmetic(keras):
    if hasattr(keras, "ops"):
        ops = keras.ops
        return {
            "reshape": lambda x: ops.reshape(x, (-1, 2, 12)),
            "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
            "expand": lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
            "mean": lambda x: ops.mean(x, axis=1),
            "max": lambda x: ops.max(x, axis=1, keepdims=True),
            "split": lambda x: ops.concatenate(ops.split(x, 2, axis=1)[::-1], axis=-1),
            "split-bounds": lambda x: ops.concatenate(ops.split(x, [1, 2], axis=1), axis=1),
            "clip": lambda x: ops.clip(x, -0.5, 0.5),
            "einsum": lambda x: ops.einsum("abc,adc->abd", x, x),
            "matmul": lambda x: ops.matmul(x, ops.swapaxes(x, 1, 2)),
            "where": lambda x: ops.where(x > 0.2, x, 2.0),
            "power": lambda x: ops.sqrt(ops.abs(x)) ** 3,
            "slice": lambda x: x[:, 1:, ::2],
            "stack": lambda x: ops.stack([x, 2.0 - x], axis=1),
            "tile": lambda x: ops.tile(x, (1, 2, 1)),
            "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0))),
            "repeat": lambda x: ops.repeat(x, 2, axis=1),
            "flip": lambda x: ops.flip(x, 1),
            "leaky_relu": lambda x: ops.nn.leaky_relu(x, 0.1),
            "normalize": lambda x: ops.normalize(x, axis=-1),
            "softmax": lambda x: ops.softmax(x, axis=1),
        }
    import tensorflow as tf

    return {
        "reshape": lambda x: tf.reshape(x, (-1, 2, 12)),
        "reshape-dynamic": lambda x: tf.reshape(x, (tf.shape(x)[0], 24)),
        "transpose": lambda x: tf.transpose(x, (0, 2, 1)),
        "expand": lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]),
        "mean": lambda x: tf.reduce_mean(x, axis=1),
        "max": lambda x: tf.reduce_max(x, axis=1, keepdims=True),
        "split": lambda x: tf.concat(tf.split(x, 2, axis=1)[::-1], axis=-1),
        "split-sizes": lambda x: tf.concat(tf.split(x, [1, 3], axis=1), axis=1),
        "clip": lambda x: tf.clip_by_value(x, -0.5, 0.5),
        "matmul": lambda x: tf.matmul(x, x, transpose_b=True),
        "power": lambda x: tf.sqrt(tf.abs(x)) ** 3.0,
        "slice": lambda x: x[:, 1:, ::2],
        "pick": lambda x: x[:, -1],
        "stack": lambda x: tf.stack([x, 2.0 - x], axis=1),
        "tile": lambda x: tf.tile(x, (1, 2, 1)),
        "pad": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 0))),
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.1),
        "relu": lambda x: tf.nn.relu6(x) + tf.nn.relu(x),
        "normalize": lambda x: tf.math.l2_normalize(x, axis=-1),
        "softmax": lambda x: tf.nn.softmax(x),
        "depth_to_space": lambda x: tf.nn.depth_to_space(tf.reshape(x, (-1, 2, 1, 12)), 2),
        "constants": lambda x: (x - [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) / 2.0,
    }
