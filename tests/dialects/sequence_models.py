"""Whole models of recurrent layers, attention and wrappers, for the way there and back; run by the framework."""


def recurrent(keras):
    """Words, masked: layers on top of each other, one direction and two."""
    layers = keras.layers
    words = keras.Input((8,), name="tokens")
    x = layers.Embedding(20, 12, mask_zero=True)(words)
    x = layers.Bidirectional(layers.LSTM(10, return_sequences=True))(x)
    x = layers.GRU(12, return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(8), merge_mode="sum")(x)
    return keras.Model(words, layers.Dense(3, activation="softmax")(layers.Dense(10, activation="relu")(x)))


def encoder_decoder(keras):
    """States handed from one layer to another, cells stacked in an RNN, a layer read backwards."""
    layers = keras.layers
    source, goal = keras.Input((6, 5)), keras.Input((4, 3))
    x = layers.SimpleRNN(8, return_sequences=True, go_backwards=True)(source)
    _, h, c = layers.LSTM(10, return_state=True, return_sequences=True)(x)
    y = layers.LSTM(10, return_sequences=True)(goal, initial_state=[h, c])
    y = layers.RNN([layers.LSTMCell(8), layers.GRUCell(6)], return_sequences=True)(y)
    return keras.Model([source, goal], layers.TimeDistributed(layers.Dense(3))(y))


def video(keras):
    """Images in time: a model at every step, convolutions with a memory."""
    layers = keras.layers
    frames = keras.Input((3, 8, 8, 2))
    frame = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    )
    x = layers.TimeDistributed(frame)(frames)
    x = layers.TimeDistributed(layers.Conv2D(6, 1))(x)
    x = layers.ConvLSTM2D(8, 3, padding="same")(x)
    return keras.Model(frames, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def attention(keras):
    """A transformer's block without its norm, whose statistics no masked original could equal."""
    layers = keras.layers
    steps = keras.Input((6, 5))
    x = layers.Dense(12)(steps)
    heads = layers.MultiHeadAttention(2, 8, value_dim=6)
    x = layers.Add()([x, heads(x, x)])
    x = layers.Add()([x, layers.Dense(12)(layers.Dense(20, activation="relu")(x))])
    x = layers.Attention(use_scale=True)([layers.Dense(10)(x), layers.Dense(10)(x)])
    return keras.Model(steps, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def loops(keras):
    """Layers that hold layers, most with a loop of their own in a graph."""
    layers = keras.layers
    steps = keras.Input((5, 6))
    x = layers.TimeDistributed(layers.Dense(12, activation="relu"))(steps)
    x = layers.Bidirectional(layers.SimpleRNN(8, return_sequences=True))(x)
    x = layers.Dense(8, activation="relu")(layers.LSTM(10)(x))
    return keras.Model(steps, layers.Dense(3)(x))


def memory(keras):
    """A layer inside a layer, and a loop in a graph, small enough to keep in a repository."""
    layers = keras.layers
    steps = keras.Input((3, 5))
    x = layers.TimeDistributed(layers.Dense(6, activation="relu"))(steps)
    return keras.Model(steps, layers.Dense(2)(layers.LSTM(4)(x)))


def teachable_machine(keras):
    """What Teachable Machine exports: a Sequential of Sequentials, the first around a functional model."""
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(image)))
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(16, 1)(x)))
    x = layers.Add()([x, layers.Conv2D(8, 1)(layers.ReLU(6.0)(y))])
    base = keras.Model(image, x)
    features = keras.Sequential([base, layers.GlobalAveragePooling2D()])
    classifier = keras.Sequential([layers.Dense(10, activation="relu"), layers.Dense(3, activation="softmax")])
    return keras.Sequential([features, classifier])


BUILDERS = {
    "recurrent": recurrent,
    "encoder_decoder": encoder_decoder,
    "video": video,
    "attention": attention,
    "loops": loops,
    "memory": memory,
    "teachable_machine": teachable_machine,
}
