"""Write ONNX files by Keras 3 itself, on torch, into FOLDER; run by a Python that has Keras 3, torch and onnxscript.

    PYTHON bench/onnx_exports/by_keras.py FOLDER

Layers that pad to the same size, or normalise over layers, this exporter does not write.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

L = keras.layers


def plain():
    """Convolutions, a residual and dense layers."""
    given = keras.Input((32, 32, 3))
    x = L.BatchNormalization()(L.Conv2D(16, 3, activation="relu")(given))
    x = L.DepthwiseConv2D(3)(x)
    x = L.Flatten()(L.MaxPooling2D(2)(L.Add()([x, L.Conv2D(16, 1)(x)])))
    return keras.Model(given, L.Dense(5, activation="softmax")(L.Dense(24, activation="gelu")(x)))


def mobilenet():
    """One of keras.applications."""
    return keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), classes=10)


def main(folder):
    """Export every model."""
    (folder / "keras3").mkdir(parents=True, exist_ok=True)
    for name, make in {"cnn": plain, "mobilenetv2": mobilenet}.items():
        model = make()
        model(np.zeros((1, *model.input_shape[1:]), "float32"))
        model.export(str(folder / "keras3" / f"{name}_20.onnx"), format="onnx", verbose=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
