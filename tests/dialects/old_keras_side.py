"""Write the fixtures of tests/keras/old: models of Keras before TensorFlow 2, with what that Keras computes of them.

Runs where an old Keras is, on Python 3.6 or 3.7:

    python3.7 -m venv old
    old/bin/pip install keras==2.2.4 tensorflow==1.15.5 "protobuf<3.21" h5py==2.10.0 "numpy<1.19"
    old/bin/python tests/dialects/old_keras_side.py tests/keras/old sequential branched nested

Keras 2.0.5 runs on the same TensorFlow. Every model is loaded and saved once more in one session, as users do who
train in steps: the names of its arrays get a number, and are no longer those of their layers.
"""

import sys

import keras
import numpy as np
from keras import layers, models


def sequential():
    """Up to 2.2.2 its configuration is a bare list, without an InputLayer."""
    model = models.Sequential()
    model.add(layers.Conv2D(8, (3, 3), kernel_initializer="he_uniform", input_shape=(12, 12, 1)))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(12, (3, 3), activation="elu"))
    model.add(layers.Dropout(0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(10, activation="relu", kernel_regularizer=keras.regularizers.l2(1e-4)))
    model.add(layers.Dense(4, activation="softmax"))
    return model


def branched():
    """A sum and a concatenation; its class is called Model."""
    image = layers.Input((12, 12, 3))
    stem = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(12, 3, padding="same")(stem)))
    x = layers.add([stem, layers.Conv2D(8, 1)(x)])
    x = layers.concatenate([layers.SeparableConv2D(6, 1, strides=2)(x), layers.AveragePooling2D()(x)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(6, 2, strides=2)(x))
    return models.Model(image, layers.Dense(3, activation="softmax")(x))


def nested():
    """A Sequential and a Model inside a Model."""
    block = models.Sequential(name="block")
    block.add(layers.Conv2D(8, 3, padding="same", activation="relu", input_shape=(12, 12, 6)))
    block.add(layers.BatchNormalization())
    block.add(layers.Conv2D(6, 3, padding="same"))
    crop = layers.Input((12, 12, 6))
    head = models.Model(crop, layers.Conv2D(5, 3, activation="relu")(layers.MaxPooling2D()(crop)), name="head")
    image = layers.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    return models.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(head(layers.add([x, block(x)])))))


def distinct(numbers, weight):
    """Values of a sensible scale, no two of a vector alike, as zoo.py has them."""
    if weight.ndim < 2:
        return numbers.permutation(np.linspace(0.25, 1.0, weight.size)).reshape(weight.shape).astype("float32")
    return (numbers.randn(*weight.shape) * np.sqrt(1.5 / np.prod(weight.shape[:-1]))).astype("float32")


def main(folder, names):
    for name in names:
        keras.backend.clear_session()
        numbers = np.random.RandomState(0)
        model = globals()[name]()
        model.set_weights([distinct(numbers, weight) for weight in model.get_weights()])
        model.compile(optimizer=keras.optimizers.SGD(lr=0.01, momentum=0.9), loss="mse", metrics=["accuracy"])
        inputs = numbers.rand(4, *[int(size) for size in model.input.shape[1:]]).astype("float32")
        model.fit(inputs, model.predict(inputs), epochs=1, verbose=0)
        path = f"{folder}/{name}-{keras.__version__}.h5"
        model.save(path)
        models.load_model(path).save(path)
        np.savez(path[:-3] + ".npz", inputs=inputs, outputs=model.predict(inputs))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
