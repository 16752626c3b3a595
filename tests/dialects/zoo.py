"""The models of these tests, in the Keras API that TensorFlow 2.3, 2.12 and Keras 3 share.

Runs in the user's environment, with that framework alone: Python 3.8, nothing of ours, no pytest.
"""

import numpy as np
import sequence_models


def documents(keras):
    """The model of the first document: getting-started.md, `define_model`."""
    layers = keras.layers
    model = keras.Sequential()
    model.add(layers.Conv2D(32, (3, 3), kernel_initializer="he_uniform", input_shape=(28, 28, 1)))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), kernel_initializer="he_uniform"))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.Conv2D(32, (3, 3), kernel_initializer="he_uniform"))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(100, activation="relu", kernel_initializer="he_uniform"))
    model.add(layers.Dense(10, activation="softmax"))
    return model


def residual(keras):
    """Two blocks that share one sum: every layer on the sum must lose the same channels."""
    layers = keras.layers
    image = keras.Input((12, 12, 3))
    decay = keras.regularizers.l2(1e-4)
    stem = layers.Conv2D(16, 3, padding="same", activation="relu", kernel_regularizer=decay, name="stem")(image)
    x = layers.Conv2D(24, 3, padding="same", use_bias=False)(stem)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU()(x)
    x = layers.Conv2D(16, 1)(x)
    x = layers.Add()([stem, x])
    y = layers.Conv2D(16, 3, padding="same")(layers.ReLU()(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(image, layers.Dense(7, activation="softmax")(x))


def concatenated(keras):
    """Branches that meet in a Concatenate, in an order that is not that of their making."""
    layers = keras.layers
    image = keras.Input((12, 12, 3))
    wide = layers.Conv2D(20, 5, padding="same", activation="relu")(image)
    narrow = layers.Conv2D(8, 1, activation="tanh")(image)
    pooled = layers.AveragePooling2D(3, strides=1, padding="same")(wide)
    x = layers.Concatenate()([narrow, wide, pooled])
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Dense(18)(layers.Flatten()(layers.Dropout(0.2)(x)))
    x = layers.PReLU()(layers.BatchNormalization()(layers.GaussianNoise(0.1)(x)))
    return keras.Model(image, layers.Dense(5)(x))


def separable(keras):
    """Depthwise and separable convolutions, a depth multiplier, and a squeeze-and-excite gate."""
    layers = keras.layers
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.ZeroPadding2D(1)(layers.DepthwiseConv2D(3)(x))
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(24, 3, padding="same", activation="relu")(x)
    gate = layers.Dense(6, activation="relu")(layers.Reshape((1, 1, 24))(layers.GlobalAveragePooling2D()(x)))
    x = layers.Multiply()([x, layers.Dense(24, activation="sigmoid")(gate)])
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.Conv2D(10, 1, activation="relu")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalMaxPooling2D()(x)))


def transposed(keras):
    """A small U-Net: transposed convolution, upsampling, a skip; its output is an image."""
    layers = keras.layers
    image = keras.Input((16, 16, 1))
    outer = layers.Conv2D(12, 3, padding="same", activation="relu")(image)
    inner = layers.Conv2D(20, 3, padding="same", activation="relu")(layers.MaxPooling2D()(outer))
    up = layers.Conv2DTranspose(12, 2, strides=2, padding="same", activation="relu")(inner)
    x = layers.Concatenate()([outer, up, layers.UpSampling2D()(inner)])
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def nested(keras):
    """A Sequential inside a functional model, which itself holds a functional model."""
    layers = keras.layers
    block = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu", input_shape=(12, 12, 8)),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, padding="same"),
        ],
        name="block",
    )
    crop = keras.Input((12, 12, 8))
    head = keras.Model(crop, layers.Conv2D(14, 3, activation="relu")(layers.MaxPooling2D()(crop)), name="head")
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = head(layers.Add()([x, block(x)]))
    return keras.Model(image, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))


def shared(keras):
    """One layer called twice: both calls must see the same cut."""
    layers = keras.layers
    image = keras.Input((10, 10, 3))
    entry = layers.Conv2D(12, 3, padding="same", activation="relu")(image)
    twice = layers.Conv2D(12, 3, padding="same", activation="relu", name="twice")
    x = layers.Add()([twice(entry), twice(twice(entry))])
    return keras.Model(image, layers.Dense(6)(layers.Flatten()(layers.MaxPooling2D()(x))))


def slashes(keras):
    """Layer names with '/', which make nested groups in an HDF5 file (DenseNet, MobileNetV3)."""
    layers = keras.layers
    image = keras.Input((10, 10, 3))
    x = layers.Conv2D(12, 3, padding="same", name="block/conv1")(image)
    x = layers.BatchNormalization(name="block/conv1/bn")(x)
    x = layers.Conv2D(12, 3, padding="same", activation="relu", name="block/conv2")(x)
    return keras.Model(image, layers.Dense(4, name="head/logits")(layers.GlobalAveragePooling2D()(x)))


def two_sided(keras):
    """Two inputs that meet, and two outputs."""
    layers = keras.layers
    image, extra = keras.Input((12, 12, 3), name="image"), keras.Input((5,), name="extra")
    x = layers.Conv2D(12, 3, activation="relu")(image)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([x, layers.Dense(9, activation="relu")(extra)])
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model([image, extra], [kind, layers.Dense(2, name="place")(x)])


def assorted(keras):
    """Graphs of layers that state sizes in ways of their own: volumes, statistics, penalties, repetition."""
    layers = keras.layers
    volume = keras.Input((8, 8, 8, 1))
    decay = keras.regularizers.l1_l2(1e-4, 1e-4)
    x = layers.BatchNormalization(gamma_regularizer=decay)(layers.Conv3D(8, 3, activation="relu")(volume))
    x = layers.Conv3DTranspose(6, 2, strides=2, bias_regularizer=decay)(layers.MaxPooling3D()(x))
    x = layers.UpSampling3D()(layers.Conv3D(8, 3, kernel_regularizer=decay)(x))
    x = layers.Dense(10, activation="elu", activity_regularizer=decay)(layers.GlobalMaxPooling3D()(x))
    x = layers.Conv1D(8, 2, activation="swish")(layers.RepeatVector(3)(x))
    return keras.Model(volume, layers.Dense(4)(layers.Permute((2, 1))(x)))


def stacked(keras):
    """Cells in a stack, whose records the SavedModel writer doesn't know: such a model comes back as an .h5."""
    layers = keras.layers
    rows = keras.Input((6, 4))
    x = layers.Conv1D(12, 3, activation="relu")(rows)
    x = layers.RNN([layers.LSTMCell(8), layers.GRUCell(6)])(x)
    return keras.Model(rows, layers.Dense(3)(x))


def layer_norm(keras):
    """Layer normalisation mixes channels, so that no masked original equals a pruned one."""
    layers = keras.layers
    image = keras.Input((10, 10, 3))
    x = layers.Conv2D(12, 3, activation="relu")(image)
    x = layers.Conv2D(12, 3, activation="relu")(x)
    x = layers.Dense(6)(layers.LayerNormalization()(layers.Flatten()(x)))
    return keras.Model(image, x)


def tiny(keras):
    """Every kind of constant that a traced graph states, small enough to keep in a repository."""
    layers = keras.layers
    image = keras.Input((4, 4, 1))
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(image))
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(layers.DepthwiseConv2D(3)(x))
    x = layers.Dense(5, activation="relu")(layers.Reshape((16, 4))(x))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def application(name, size):
    """A model of keras.applications, its classifier included, at a size that runs in moments."""

    def build(keras):
        return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)

    return build


#: What a model of keras.applications takes at least, its own padding kept; the others take 32 pixels.
SIZES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}


def application_names(keras):
    """The models of this framework's keras.applications."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def builder(name):
    """The function that builds a model: of the tables below, or any of keras.applications by its own name."""
    return BUILDERS.get(name) or application(name, SIZES.get(name, 32))


APPLICATIONS = {
    "mobilenet": application("MobileNet", 32),
    "mobilenet_v2": application("MobileNetV2", 32),
    "resnet50": application("ResNet50", 32),
    "densenet121": application("DenseNet121", 32),
    "vgg16": application("VGG16", 32),
    "xception": application("Xception", 71),
    "inception_v3": application("InceptionV3", 75),
}

BUILDERS = {
    "documents": documents,
    "residual": residual,
    "concatenated": concatenated,
    "separable": separable,
    "transposed": transposed,
    "nested": nested,
    "shared": shared,
    "slashes": slashes,
    "two_sided": two_sided,
    "assorted": assorted,
    "stacked": stacked,
    "layer_norm": layer_norm,
    "tiny": tiny,
    **sequence_models.BUILDERS,
    **APPLICATIONS,
}


def learning_rate(name):
    """Two steps from random weights, on maps of one pixel, throw a deep model with batch normalisation far."""
    return 1e-3 if name in BUILDERS and name not in APPLICATIONS else 1e-6


def build(keras, name, seed=0):
    """The model with weights that no two channels share, so that a kept channel can be found again by its values."""
    keras.backend.clear_session()
    model = builder(name)(keras)
    numbers = np.random.RandomState(seed)
    model.set_weights([distinct(numbers, weight) for weight in model.get_weights()])
    return model


def distinct(numbers, weight):
    """Values of a sensible scale: kernels as He would draw them, vectors of one sign and never alike."""
    if weight.ndim < 2:
        return numbers.permutation(np.linspace(0.25, 1.0, weight.size)).reshape(weight.shape).astype("float32")
    fan_in = max(1, int(np.prod(weight.shape[:-1])))
    return (numbers.randn(*weight.shape) * np.sqrt(1.5 / fan_in)).astype("float32")
