"""Operations between layers, as each dialect spells them: name -> (shape of a sample, the operation).

Runs in the user's environment, like `layer_zoo.py`. A case that a version of Keras doesn't have raises.
"""

import numpy as np

ROWS, IMAGE, PICTURE = (4, 6), (8, 6, 4), (8, 6, 3)
UNARY = ("abs", "tanh", "exp", "sin", "cosh", "floor", "square", "sign", "log1p", "expm1")


def operations(keras):
    """The cases of this framework."""
    return _of_keras_3(keras.ops) if hasattr(keras, "ops") else _of_tensorflow(keras)


def _of_keras_3(ops):
    found = {name: (ROWS, lambda x, n=name: getattr(ops, n)(x)) for name in (*UNARY, "softplus", "glu", "arctan")}
    rows = {
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
        "matmul-constant": lambda x: ops.matmul(x, np.ones((6, 2), "float32")),
        "where": lambda x: ops.where(x > 0.2, x, 2.0),
        "power": lambda x: ops.sqrt(ops.abs(x)) ** 3,
        "remainder": lambda x: x % 0.3 + x // 0.5,
        "slice": lambda x: x[:, 1:, ::2],
        "stack": lambda x: ops.stack([x, 2.0 - x], axis=1),
        "tile": lambda x: ops.tile(x, (1, 2, 1)),
        "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0))),
        "pad-reflect": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0)), mode="reflect"),
        "repeat": lambda x: ops.repeat(x, 2, axis=1),
        "flip": lambda x: ops.flip(x, 1),
        "roll": lambda x: ops.roll(x, 2, axis=1),
        "leaky_relu": lambda x: ops.nn.leaky_relu(x, 0.1),
        "normalize": lambda x: ops.normalize(x, axis=-1),
        "norm": lambda x: ops.norm(x, axis=-1, keepdims=True),
        "moments": lambda x: ops.moments(x, axes=[1])[1],
        "softmax": lambda x: ops.softmax(x, axis=1),
        "cumsum": lambda x: ops.cumsum(x, axis=1),
        "constants": lambda x: x * np.arange(6).astype("float32"),
    }
    images = {
        "resize": lambda x: ops.image.resize(x, (4, 9)),
        "resize-nearest": lambda x: ops.image.resize(x, (16, 12), interpolation="nearest"),
        "depth_to_space": lambda x: ops.nn.depth_to_space(x, 2),
        "max_pool": lambda x: ops.max_pool(x, 2, strides=2),
        "average_pool": lambda x: ops.average_pool(x, 2, padding="same"),
        "patches": lambda x: ops.image.extract_patches(x, (2, 2)),
        "crop": lambda x: ops.image.crop_images(x, 1, 1, 1, 1),
        "moveaxis": lambda x: ops.moveaxis(x, 3, 1),
        "attention": lambda x: ops.dot_product_attention(x, x, x),
    }
    found.update({name: (ROWS, compute) for name, compute in rows.items()})
    found.update({name: (IMAGE, compute) for name, compute in images.items()})
    return found


def _of_tensorflow(keras):
    import tensorflow as tf

    backend = keras.backend
    found = {name: (ROWS, lambda x, n=name: getattr(tf.math, n)(x)) for name in (*UNARY, "softplus", "rint", "atan")}
    rows = {
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
        "matmul-constant": lambda x: tf.matmul(x, tf.ones((6, 3))),
        "tensordot": lambda x: tf.tensordot(x, tf.ones((6, 3)), axes=1),
        "power": lambda x: tf.sqrt(tf.abs(x)) ** 3.0,
        "remainder": lambda x: x % 0.5 + x // 0.5,
        "slice": lambda x: x[:, 1:, ::2],
        "backwards": lambda x: x[:, ::-1],
        "pick": lambda x: x[:, -1],
        "stack": lambda x: tf.stack([x, 2.0 - x], axis=1),
        "tile": lambda x: tf.tile(x, (1, 2, 1)),
        "roll": lambda x: tf.roll(x, shift=2, axis=1),
        "pad": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 0))),
        "pad-symmetric": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 0)), mode="SYMMETRIC"),
        "gather": lambda x: tf.gather(x, [2, 0, 5], axis=-1),
        "where": lambda x: tf.where(x > 0.1, x, tf.zeros_like(x)),
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.1),
        "relu": lambda x: tf.nn.relu6(x) + tf.nn.relu(x),
        "normalize": lambda x: tf.math.l2_normalize(x, axis=-1),
        "norm": lambda x: tf.norm(x, axis=-1),
        "softmax": lambda x: tf.nn.softmax(x),
        "one_hot": lambda x: tf.one_hot(tf.argmax(x, axis=-1), 6),
        "constants": lambda x: (x - [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) / 2.0,
        "backend-mean": lambda x: backend.mean(x, axis=1),
        "backend-std": lambda x: backend.std(x, axis=-1),
        "backend-flatten": lambda x: backend.batch_flatten(x),
        "backend-repeat": lambda x: backend.repeat_elements(x, 2, axis=1),
        "backend-relu": lambda x: backend.relu(x, max_value=0.5),
        "backend-batch_dot": lambda x: backend.batch_dot(x, x, axes=[2, 2]),
    }
    images = {
        "depth_to_space": lambda x: tf.nn.depth_to_space(x, 2),
        "bias_add": lambda x: tf.nn.bias_add(x, tf.ones((4,))),
        "moments": lambda x: tf.nn.moments(x, axes=[1, 2])[1],
        "lrn": lambda x: tf.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=1e-2, beta=0.75),
        "max_pool": lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"),
        "average_pool": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
        "resize": lambda x: tf.image.resize(x, (4, 9)),
        "resize-area": lambda x: tf.image.resize(x, (4, 3), method="area"),
        "resize-old": lambda x: tf.compat.v1.image.resize_bilinear(x, (16, 12), align_corners=True),
        "flip": lambda x: tf.image.flip_left_right(x),
        "crop": lambda x: tf.image.crop_to_bounding_box(x, 1, 1, 4, 4),
        "backend-resize": lambda x: backend.resize_images(x, 2, 2, "channels_last"),
    }
    pictures = {
        "preprocess-tf": lambda x: keras.applications.mobilenet_v2.preprocess_input(x),
        "preprocess-caffe": lambda x: keras.applications.vgg16.preprocess_input(x),
        "preprocess-torch": lambda x: keras.applications.densenet.preprocess_input(x),
        "gray": lambda x: tf.image.rgb_to_grayscale(x),
    }
    for shape, computed in ((ROWS, rows), (IMAGE, images), (PICTURE, pictures)):
        found.update({name: (shape, compute) for name, compute in computed.items()})
    return found
