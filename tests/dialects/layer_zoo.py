"""Every layer that the interpreter computes, each in the ways in which Keras lets it be set: one small model a case.

Runs in the user's environment, like `zoo.py`. A case that a version of Keras doesn't have gives None.
"""

import itertools

import numpy as np
import sequence_zoo

ACTIVATIONS = (
    *("relu", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "softsign", "swish", "gelu", "exponential"),
    *("hard_sigmoid", "linear", "relu6", "silu", "leaky_relu", "mish", "log_softmax", "hard_silu", "celu"),
)


def cases(keras):
    """Name -> (input shape, layers) of a chain; layers are made when they are asked for."""
    layers = keras.layers
    image, odd, line, volume = (9, 8, 6), (11, 7, 4), (13, 6), (5, 6, 7, 4)
    found = {}

    def add(name, shape, *made):
        found[name] = (shape, made)

    for padding, strides, size in itertools.product(("same", "valid"), (1, 2, 3), (1, 2, 3, 4)):
        add(f"conv2d-{padding}-{strides}-{size}", odd, lambda p=padding, s=strides, k=size: layers.Conv2D(5, k, s, p))
        add(
            f"conv2d_transpose-{padding}-{strides}-{size}",
            odd,
            lambda p=padding, s=strides, k=size: layers.Conv2DTranspose(5, k, s, p),
        )
        add(
            f"average-{padding}-{strides}-{size}",
            odd,
            lambda p=padding, s=strides, k=size: layers.AveragePooling2D(k, s, p),
        )
        add(
            f"maximum-{padding}-{strides}-{size}",
            odd,
            lambda p=padding, s=strides, k=size: layers.MaxPooling2D(k, s, p),
        )
        add(
            f"separable-{padding}-{strides}-{size}",
            odd,
            lambda p=padding, s=strides, k=size: layers.SeparableConv2D(5, k, s, p, depth_multiplier=2),
        )
        add(
            f"depthwise-{padding}-{strides}-{size}",
            odd,
            lambda p=padding, s=strides, k=size: layers.DepthwiseConv2D(k, s, p, depth_multiplier=k),
        )
    add("conv1d", line, lambda: layers.Conv1D(5, 3, strides=2, padding="same", activation="tanh"))
    add("conv1d-causal", line, lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=2))
    add("conv2d-dilated", image, lambda: layers.Conv2D(5, 3, padding="same", dilation_rate=2, use_bias=False))
    add("conv2d-oblong", image, lambda: layers.Conv2D(5, (1, 4), strides=(2, 1), padding="same"))
    add("conv3d", volume, lambda: layers.Conv3D(5, 3, strides=2, padding="same"))
    add("conv3d_transpose", volume, lambda: layers.Conv3DTranspose(3, 3, strides=2, padding="same"))
    add("conv2d_transpose-output_padding", image, lambda: layers.Conv2DTranspose(5, 3, strides=2, output_padding=1))
    add(
        "conv2d_transpose-same-output_padding",
        image,
        lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same", output_padding=0),
    )
    add("separable1d", line, lambda: layers.SeparableConv1D(5, 3, strides=2, padding="same"))
    add("dense-flat", (7,), lambda: layers.Dense(5, activation="relu"))
    add("dense-image", image, lambda: layers.Dense(5, use_bias=False))
    for kind in ("Average", "Max"):
        for rank, shape in ((1, line), (2, image), (3, volume)):
            add(
                f"pool{rank}d-{kind}",
                shape,
                lambda k=kind, r=rank: _class(layers, f"{k}Pooling{r}D")(2, None, "same"),
            )
            add(f"global{rank}d-{kind}", shape, lambda k=kind, r=rank: _class(layers, f"Global{k}Pooling{r}D")())
    for rank, shape in ((1, line), (2, image), (3, volume)):
        add(f"upsampling{rank}d", shape, lambda r=rank: _class(layers, f"UpSampling{r}D")(2))
        add(f"cropping{rank}d", shape, lambda r=rank: _class(layers, f"Cropping{r}D")(1))
        add(f"zeropadding{rank}d", shape, lambda r=rank: _class(layers, f"ZeroPadding{r}D")(2))
        add(f"spatialdropout{rank}d", shape, lambda r=rank: _class(layers, f"SpatialDropout{r}D")(0.3))
    add("upsampling-bilinear", image, lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"))
    add("zeropadding-uneven", image, lambda: layers.ZeroPadding2D(((0, 1), (2, 0))))
    add("cropping-uneven", image, lambda: layers.Cropping2D(((0, 1), (2, 0))))
    add("batch_normalization", image, lambda: layers.BatchNormalization(epsilon=1e-2))
    add("batch_normalization-bare", image, lambda: layers.BatchNormalization(scale=False, center=False))
    add("batch_normalization-no-scale", (7,), lambda: layers.BatchNormalization(scale=False))
    add("batch_normalization-axis", image, lambda: layers.BatchNormalization(axis=1))
    add("layer_normalization", image, lambda: layers.LayerNormalization())
    add("layer_normalization-two-axes", image, lambda: layers.LayerNormalization(axis=[2, 3]))
    add("layer_normalization-no-scale", line, lambda: layers.LayerNormalization(scale=False, epsilon=1e-6))
    add("group_normalization", image, lambda: layers.GroupNormalization(groups=3))
    add("unit_normalization", image, lambda: layers.UnitNormalization())
    for function in ACTIVATIONS:
        add(f"activation-{function}", line, lambda f=function: layers.Activation(f))
    add("activation-in-dense", (7,), lambda: layers.Dense(5, activation="hard_sigmoid"))
    add("relu-plain", line, lambda: layers.ReLU())
    add("relu-six", line, lambda: layers.ReLU(6.0))
    add("relu-all", line, lambda: layers.ReLU(max_value=0.8, negative_slope=0.2, threshold=0.3))
    add("relu-slope", line, lambda: layers.ReLU(negative_slope=0.1))
    add("leaky_relu", line, lambda: layers.LeakyReLU())
    add("leaky_relu-slope", line, lambda: layers.LeakyReLU(0.05))
    add("prelu", image, lambda: layers.PReLU())
    add("prelu-shared", image, lambda: layers.PReLU(shared_axes=[1, 2]))
    add("elu", line, lambda: layers.ELU(0.7))
    add("thresholded_relu", line, lambda: layers.ThresholdedReLU(0.4))
    add("softmax", line, lambda: layers.Softmax())
    add("softmax-axis", line, lambda: layers.Softmax(axis=1))
    add("flatten", image, lambda: layers.Flatten())
    add("reshape", image, lambda: layers.Reshape((4, 3, 6, -1)))
    add("permute", image, lambda: layers.Permute((3, 1, 2)))
    add("repeat_vector", (7,), lambda: layers.RepeatVector(4))
    add("rescaling", image, lambda: layers.Rescaling(1 / 127.5, offset=-1))
    add("rescaling-list", (4, 4, 3), lambda: layers.Rescaling([0.5, 0.2, 0.1], offset=[1.0, 2.0, 3.0]))
    add("normalization", image, lambda: layers.Normalization())
    add(
        "normalization-constant",
        (4, 4, 3),
        lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
    )
    add("resizing", image, lambda: layers.Resizing(12, 5))
    add(
        "dropouts",
        line,
        lambda: layers.Dropout(0.5),
        lambda: layers.GaussianNoise(0.5),
        lambda: layers.GaussianDropout(0.5),
    )
    add("alpha_dropout", line, lambda: layers.AlphaDropout(0.5), lambda: layers.ActivityRegularization(0.1))
    add("embedding", (5,), lambda: layers.Embedding(20, 6), lambda: layers.Conv1D(4, 3))
    add("conv2d-groups", image, lambda: _grouped(keras))
    return found


def _grouped(keras):
    if keras.__version__.startswith("2.4"):
        raise ValueError("TensorFlow 2.3 can't run a grouped convolution on a processor")
    return keras.layers.Conv2D(4, 3, groups=2)


def merges(keras):
    """Name -> functional models: several inputs, several outputs, arithmetic between layers."""
    layers = keras.layers
    found = {}
    for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        found[f"merge-{kind}"] = lambda k=kind: _merged(keras, _class(layers, k)())
    found["merge-Concatenate-axis"] = lambda: _merged(keras, layers.Concatenate(axis=1))
    found["dot"] = lambda: _merged(keras, layers.Dot(axes=(3, 3)))
    found["dot-vectors"] = lambda: _merged(keras, layers.Dot(axes=1, normalize=True), (6,))
    found["gate"] = lambda: _gate(keras)
    found["arithmetic"] = lambda: _arithmetic(keras)
    found["two-outputs"] = lambda: _two_outputs(keras)
    return found


def _merged(keras, layer, shape=(4, 5, 6)):
    first, second = keras.Input(shape), keras.Input(shape)
    merged = layer([keras.layers.Dense(6)(first), keras.layers.Dense(6, activation="tanh")(second)])
    return keras.Model([first, second], merged)


def _gate(keras):
    """An image scaled by a vector: Keras lines the vector up with the last axis."""
    image = keras.Input((4, 5, 6))
    gate = keras.layers.Dense(6, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(image))
    return keras.Model(image, keras.layers.Multiply()([image, keras.layers.Reshape((1, 1, 6))(gate)]))


def _arithmetic(keras):
    image = keras.Input((4, 5, 6))
    x = keras.layers.Dense(6)(image)
    return keras.Model(image, keras.layers.Dense(3)((x + 1.0) * 2.0 - image / 3.0 + (1.0 - x)))


def _two_outputs(keras):
    image = keras.Input((4, 5, 6))
    x = keras.layers.Conv2D(5, 3, padding="same")(image)
    return keras.Model(image, [keras.layers.Flatten()(x), keras.layers.GlobalMaxPooling2D()(x)])


def _class(layers, name):
    return getattr(layers, name)


def build(keras, name):
    """The model of a case with random arrays, or None where this Keras doesn't have it."""
    try:
        if name in merges(keras):
            model = merges(keras)[name]()
        elif name in sequence_zoo.cases(keras):
            model = sequence_zoo.cases(keras)[name]()
        else:
            shape, made = cases(keras)[name]
            model = keras.Sequential([keras.Input(shape), *(make() for make in made)])
    except (AttributeError, TypeError, ValueError):
        return None
    numbers = np.random.RandomState(7)
    # Positive: some of them are variances.
    model.set_weights([_like(numbers, weight) for weight in model.get_weights()])
    return model


def _like(numbers, weight):
    if weight.dtype.kind != "f":
        return weight
    return numbers.uniform(0.2, 1.2, weight.shape).astype("float32")


def sample(name, model):
    """Input that reaches both sides of every kink; whole numbers for a look-up."""
    numbers = np.random.RandomState(3)
    return [_sample(numbers, name, tensor) for tensor in model.inputs]


def _sample(numbers, name, tensor):
    shape = (2, *tensor.shape[1:])
    if name == "embedding" or tensor.name.startswith("tokens"):
        tokens = numbers.randint(0, 20, shape)
        tokens[:, -2:] = 0  # filling, where zero is masked
        return tokens.astype("float32")
    return (numbers.randn(*shape) * 2).astype("float32")


def save_all(keras, folder, suffix):
    """Write every case that this Keras has, with an input and what it computes from it; gives their names."""
    written = []
    for name in [*cases(keras), *merges(keras), *sequence_zoo.cases(keras)]:
        keras.backend.clear_session()
        model = build(keras, name)
        if model is None:
            continue
        inputs = sample(name, model)
        try:
            outputs = as_list(model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0))
            model.save(f"{folder}/{name}{suffix}")
        except (NotImplementedError, TypeError, ValueError):  # this Keras can't run or write its own model
            continue
        arrays = {f"x{i}": array for i, array in enumerate(inputs)}
        arrays.update({f"y{i}": np.asarray(array) for i, array in enumerate(outputs)})
        np.savez(f"{folder}/{name}.npz", **arrays)
        written.append(name)
    return written


def as_list(outputs):
    """One output, several, or a dictionary of them, in the order of its keys."""
    if isinstance(outputs, dict):
        return [outputs[key] for key in sorted(outputs)]
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
