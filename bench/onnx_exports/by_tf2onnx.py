"""Write ONNX files by tf2onnx into FOLDER; run by a Python that has TensorFlow 2 and tf2onnx.

    PYTHON bench/onnx_exports/by_tf2onnx.py FOLDER

Random weights; norms with statistics of their own.
"""

import sys
from pathlib import Path

import tensorflow as tf
import tf2onnx

keras = tf.keras
L = keras.layers


def recurrent():
    """Words through an embedding and two kinds of recurrent layers."""
    words = keras.Input((20,), dtype="int32")
    x = L.Bidirectional(L.LSTM(24, return_sequences=True))(L.Embedding(500, 32)(words))
    return keras.Model(words, L.Dense(3, activation="softmax")(L.Dense(32, activation="relu")(L.GRU(16)(x))))


def several():
    """Two inputs, two outputs, and layers of many kinds."""
    picture, numbers = keras.Input((32, 32, 3), name="image"), keras.Input((10,), name="meta")
    x = L.Conv2D(16, 3, padding="same", activation="relu")(picture)
    x = L.BatchNormalization()(L.SeparableConv2D(32, 3, strides=2, padding="same")(x))
    x = L.PReLU(shared_axes=[1, 2])(x)
    mask = L.UpSampling2D(2)(L.Conv2DTranspose(16, 3, strides=2, padding="same")(x))
    flat = L.Flatten()(L.MaxPool2D()(x))
    joined = L.Concatenate()([L.GlobalAveragePooling2D()(x), L.Dense(32, activation="gelu")(numbers), flat])
    gated = L.Multiply()([L.Dense(24)(joined), L.Dense(24, activation="sigmoid")(joined)])
    return keras.Model([picture, numbers], [L.Dense(4, name="cls")(gated), L.Conv2D(2, 1, name="seg")(mask)])


def attention():
    """A layer norm and multi-head attention, with a residual."""
    picture = keras.Input((16, 16, 3))
    x = L.LayerNormalization()(L.Reshape((-1, 12))(L.Conv2D(12, 3, padding="same")(picture)))
    x = L.Permute((2, 1))(L.Add()([x, L.MultiHeadAttention(2, 6)(x, x)]))
    return keras.Model(picture, L.Dense(5)(L.GlobalAveragePooling1D(data_format="channels_first")(x)))


def application(name, size):
    """One of keras.applications, for images of that size."""
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)


MODELS = {
    "mobilenetv2": (application("MobileNetV2", 96), (9, 13, 17)),
    "resnet50": (application("ResNet50", 64), (15,)),
    "effb0": (application("EfficientNetB0", 64), (18,)),
    "mobilenetv3": (application("MobileNetV3Small", 96), (13,)),
    "densenet121": (application("DenseNet121", 64), (12,)),
    "xception": (application("Xception", 96), (18,)),
    "vgg16": (application("VGG16", 32), (10,)),
    "lstm": (recurrent, (9, 13)),
    "multi": (several, (11, 15)),
    "attention": (attention, (17,)),
}


def main(folder):
    """Export every model."""
    (folder / "tf2onnx").mkdir(parents=True, exist_ok=True)
    for name, (make, opsets) in MODELS.items():
        tf.random.set_seed(0)
        model = make()
        for weight in model.weights:
            if any(part in weight.name for part in ("moving_mean", "beta", "bias")):
                weight.assign(tf.random.normal(weight.shape) * 0.1)
            elif any(part in weight.name for part in ("moving_var", "gamma")):
                weight.assign(tf.random.uniform(weight.shape) * 0.5 + 0.75)
        for opset in opsets:
            path = folder / "tf2onnx" / f"{name}_{opset}.onnx"
            tf2onnx.convert.from_keras(model, opset=opset, output_path=str(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
