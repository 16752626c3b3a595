"""The document's Keras model and its data."""

import numpy as np
from tensorflow import keras
from tensorflow.keras.optimizers import SGD


def load_dataset(folder):
    digits = np.load(f"{folder}/digits.npz")
    train_x, test_x = (digits[name].reshape(-1, 28, 28, 1).astype("float32") / 255.0 for name in ("train_x", "test_x"))
    train_y, test_y = (keras.utils.to_categorical(digits[name]) for name in ("train_y", "test_y"))
    return train_x, train_y, test_x, test_y


def compile_model(model):
    opt = SGD(learning_rate=0.01, momentum=0.9)
    model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])


def define_model():
    model = keras.Sequential()
    model.add(keras.layers.Conv2D(32, (3, 3), kernel_initializer="he_uniform", input_shape=(28, 28, 1)))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.MaxPooling2D((2, 2)))
    model.add(keras.layers.Conv2D(64, (3, 3), kernel_initializer="he_uniform"))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Conv2D(32, (3, 3), kernel_initializer="he_uniform"))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.MaxPooling2D((2, 2)))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(100, activation="relu", kernel_initializer="he_uniform"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    compile_model(model)
    return model
