"""What these tests do inside the user's environment: one JSON command a line in, one JSON answer a line out.

Runs with one framework and nothing of ours, from Python 3.8 on: tf.keras where there is TensorFlow, else Keras 3.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import layer_zoo
import numpy as np
import zoo

#: The others are compiled as the documents do it. Each kind keeps its state in variables of its own.
OPTIMIZERS = {"concatenated": ("Adam", {}), "separable": ("RMSprop", {"centered": True})}


def open_keras():
    """The framework of this environment and its version."""
    try:
        import tensorflow as tf
    except ImportError:
        import keras

        return keras, keras.__version__
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf.keras, tf.__version__


def own_layers():
    """A layer of keras.applications that TensorFlow's own `load_model` must be told of, as for the original."""
    try:
        from keras.applications.convnext import LayerScale
    except ImportError:
        return {}
    return {"LayerScale": LayerScale}


def sample(model, seed=1, batch=4):
    """Random input for a model, one array per input."""
    numbers = np.random.RandomState(seed)
    shapes = [(batch, *tuple(tensor.shape)[1:]) for tensor in model.inputs]
    words = [tensor.name.startswith("tokens") for tensor in model.inputs]
    return [
        (numbers.randint(0, 20, shape) if is_words else numbers.rand(*shape)).astype("float32")
        for shape, is_words in zip(shapes, words)
    ]


def input_shapes(model):
    return [tuple(tensor.shape) for tensor in model.inputs]


def target(model, inputs):
    """One random array per output; alone where there is one output."""
    numbers = np.random.RandomState(2)
    shapes = [(len(inputs[0]), *tuple(output.shape)[1:]) for output in model.outputs]
    targets = [numbers.rand(*shape).astype("float32") for shape in shapes]
    return targets if len(targets) > 1 else targets[0]


def train(model):
    """One epoch of two steps; the loss, and whether the weights moved."""
    inputs = sample(model)
    before = [weight.copy() for weight in model.get_weights()]
    history = model.fit(inputs, target(model, inputs), epochs=1, batch_size=2, verbose=0)
    moved = any(not np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    return {"loss": float(history.history["loss"][0]), "moved": moved}


def predict(model, inputs):
    """Every output, by name."""
    found = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    return dict(zip(output_names(model), found if isinstance(found, list) else [found]))


def input_names(model):
    return getattr(model, "input_names", None) or [tensor.name for tensor in model.inputs]


def output_names(model):
    # A Sequential of Keras 3 that holds Sequentials has none.
    return list(getattr(model, "output_names", None) or ["output"])


def difference(found, wanted):
    """Largest difference over largest value, of the worst output."""
    return max(float(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in wanted)


def kept_indices(original, pruned):
    """For each axis, which positions of `original` stand in `pruned`, found by nothing but the values."""
    if original.shape == pruned.shape:
        kept = tuple(np.arange(size) for size in original.shape)
    else:
        order = np.argsort(original, axis=None)
        ranked = original.ravel()[order]
        place = np.clip(np.searchsorted(ranked, pruned), 0, ranked.size - 1)
        alone = (np.searchsorted(ranked, pruned, side="right") - np.searchsorted(ranked, pruned)) == 1
        # Flat: of a larger array in several dimensions, numpy 2.4.6 gives wrong coordinates.
        where = [one.reshape(pruned.shape) for one in np.unravel_index(order[place].ravel(), original.shape)]
        kept = tuple(along(axis, where[axis], alone) for axis in range(original.ndim))
    if not np.array_equal(original[np.ix_(*kept)], pruned):
        raise ValueError(f"the pruned array {pruned.shape} is no part of the original {original.shape}")
    return kept


def along(axis, coordinates, alone):
    """The one coordinate that all unmistakable elements of each slice agree on."""
    kept = []
    for coordinate, sure in zip(np.moveaxis(coordinates, axis, 0), np.moveaxis(alone, axis, 0)):
        found = np.unique(coordinate[sure])
        if len(found) != 1:
            raise ValueError(f"a slice of axis {axis} is from the places {found[:5]}")
        kept.append(int(found[0]))
    return np.array(kept)


def masked(original, pruned):
    """The original array with every removed position zeroed."""
    kept = np.ix_(*kept_indices(original, pruned))
    result = np.zeros_like(original)
    result[kept] = original[kept]
    return result


def kernels(model):
    """Every weight that multiplies."""
    return [weight for weight in model.get_weights() if weight.ndim > 1]


def compiled(model):
    """What `compile` was told, as far as every version can say it."""
    optimizer = model.optimizer
    if optimizer is None:
        return None
    # Rounded: with its weights an optimizer gives its numbers as it was told them, without as float32 holds them.
    config = {key: rounded(value) for key, value in optimizer.get_config().items()}
    return {"optimizer": type(optimizer).__name__, "config": config, "loss": loss_name(model)}


def loss_name(model):
    loss = getattr(model, "loss", None)
    return getattr(loss, "__name__", str(loss))


def rounded(value):
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


class Commands:
    """One method per command; arguments and answers are JSON."""

    def __init__(self):
        self.keras, self.version = open_keras()
        self.known = own_layers()

    def load_model(self, file):
        """A saved model as its user loads it."""
        return self.keras.models.load_model(file, custom_objects=self.known)

    def versions(self):
        return {"version": self.version}

    def applications(self):
        """Names of the models of keras.applications."""
        return {"names": zoo.application_names(self.keras)}

    def build(self, model, file):
        """Train a model for a moment and save it; a name without suffix is a SavedModel."""
        built = zoo.build(self.keras, model)
        kind, settings = OPTIMIZERS.get(model, ("SGD", {"momentum": 0.9}))
        optimizer = getattr(self.keras.optimizers, kind)(learning_rate=zoo.learning_rate(model), **settings)
        loss = "categorical_crossentropy" if model == "documents" else "mean_squared_error"
        # Keras 3 wants the metrics of several outputs one by one.
        metrics = ["accuracy"] if len(built.outputs) == 1 else [["accuracy"] for _ in built.outputs]
        built.compile(optimizer=optimizer, loss=loss, metrics=metrics)
        # For the optimizer's state. The weights are put back: those are told apart, and training a deep model from
        # random weights on maps of one pixel throws it far.
        before = built.get_weights()
        train(built)
        built.set_weights(before)
        built.save(file)
        return {"parameters": built.count_params(), "inputs": input_shapes(built)}

    def predict(self, file, inputs, outputs):
        """Run a file on the arrays of an .npz (or on random ones, which are then written there)."""
        model = self.load_model(file)
        if not Path(inputs).exists():
            np.savez(inputs, **dict(zip(input_names(model), sample(model))))
        with np.load(inputs) as arrays:
            np.savez(outputs, **predict(model, [arrays[name] for name in arrays.files]))
        return {"parameters": model.count_params()}

    def compare(self, original, pruned):
        """Hold a pruned file to its original with the removed channels zeroed; then train it."""
        self.keras.backend.clear_session()
        dense, small = self.load_model(original), self.load_model(pruned)
        inputs = sample(small)
        was, now = compiled(dense), compiled(small)
        parameters = [dense.count_params(), small.count_params()]
        found = predict(small, inputs)
        dense.set_weights([masked(a, b) for a, b in zip(dense.get_weights(), small.get_weights())])
        wanted = predict(dense, inputs)
        kernels = [list(weight.shape) for weight in small.weights if len(weight.shape) > 1]
        return {
            "difference": difference(found, wanted),
            "parameters": parameters,
            "compiled": [was, now],
            "kernels": kernels,
            "names": [[layer.name for layer in model.layers] for model in (dense, small)],
            "trained": train(small),
        }

    def layers(self, folder, suffix):
        """Save every layer that the interpreter computes, with what this Keras computes from a sample."""
        return {"written": layer_zoo.save_all(self.keras, folder, suffix)}

    def load(self, file, inputs=None, outputs=None):
        """Load a file, run it on the arrays of an .npz if there is one, and train it."""
        model = self.load_model(file)
        if inputs is not None:
            with np.load(inputs) as arrays:
                np.savez(outputs, **predict(model, [arrays[name] for name in arrays.files]))
        return {"parameters": model.count_params(), "compiled": compiled(model), "trained": train(model)}

    def packed(self, file, loader, original, inputs, outputs):
        """A packed model by its loader: what it gives, how near its weights are to the original, a step of training."""
        self.keras.backend.clear_session()
        dense = self.load_model(original)
        model = runpy.run_path(loader)["load_quantized"](file, custom_objects=self.known)
        found = sample(model)
        np.savez(inputs, **dict(zip(input_names(model), found)))
        np.savez(outputs, **predict(model, found))
        values = [int(max(len(np.unique(one[..., i])) for i in range(one.shape[-1]))) for one in kernels(model)]
        pairs = zip(dense.get_weights(), model.get_weights())
        same = [bool(np.array_equal(a, b)) for a, b in pairs if np.ndim(a) < 2]
        apart = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(kernels(dense), kernels(model))]
        model.compile("sgd", "mean_squared_error")
        return {"values": values, "same": same, "apart": apart, "trained": train(model)}

    def uses(self, folder, tflite):
        """How far a SavedModel's other uses are from what Keras computes: its signature, and TensorFlow Lite."""
        import tensorflow as tf

        model = self.load_model(folder)
        inputs = dict(zip(input_names(model), sample(model)))
        wanted = predict(model, list(inputs.values()))
        loaded = tf.saved_model.load(folder)  # kept: without it TensorFlow 2.3 would drop its variables
        answers = loaded.signatures["serving_default"](**{name: tf.constant(one) for name, one in inputs.items()})
        served = {name: answer.numpy() for name, answer in answers.items()}
        found = {"signature": difference(served, wanted)}
        if tflite:
            found["tflite"] = difference(lite(tf, folder, inputs, wanted), wanted)
        return found

    def sign(self, file, folder):
        """Save a model with two signatures of the user's own and a file of labels."""
        import tensorflow as tf

        model = self.load_model(file)
        height, width, channels = tuple(model.inputs[0].shape)[1:]

        @tf.function(input_signature=[tf.TensorSpec((None, height, width, channels), tf.float32, name="image")])
        def scores(image):
            return {"scores": model(image, training=False)}

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels), tf.uint8, name="photo")])
        def photo(photo):
            sized = tf.image.resize(tf.cast(photo, tf.float32), (height, width))
            return {"scores": model(sized, training=False), "label": tf.argmax(model(sized, training=False), -1)}

        labels = Path(folder).with_suffix(".txt")
        labels.write_text("cat dog")
        model.labels = tf.saved_model.Asset(str(labels))
        model.save(folder, signatures={"serving_default": scores, "photo": photo})
        return {}

    def signed(self, folder):
        """What the signatures take, how far they are from Keras' own prediction, and what the asset holds."""
        import tensorflow as tf

        loaded = tf.saved_model.load(folder)
        model = self.load_model(folder)
        photos = (255 * sample(model)[0]).astype("uint8")
        (wanted,) = predict(model, [photos.astype("float32")]).values()
        shapes, differences = {}, {}
        for name, function in loaded.signatures.items():
            ((argument, spec),) = function.structured_input_signature[1].items()
            found = function(**{argument: tf.cast(photos, spec.dtype)})["scores"].numpy()
            shapes[name], differences[name] = list(spec.shape), difference({name: found}, {name: wanted})
        labels = Path(loaded.labels.asset_path.numpy().decode()).read_text()
        return {"takes": shapes, "differences": differences, "labels": labels}

    def resave(self, folder, file):
        """Load, save again, load what was saved."""
        self.load_model(folder).save(file)
        return {"parameters": self.load_model(file).count_params()}


def lite(tf, folder, inputs, like):
    """What the TensorFlow Lite model of a SavedModel computes; outputs have no names there, so shapes tell them."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    # Loops of an open batch need TensorFlow's own operators.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter._experimental_lower_tensor_list_ops = False
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    places = {one["name"].replace("serving_default_", "").split(":")[0]: one for one in interpreter.get_input_details()}
    for name, place in places.items():
        interpreter.resize_tensor_input(place["index"], inputs[name].shape)
    interpreter.allocate_tensors()
    for name, place in places.items():
        interpreter.set_tensor(place["index"], inputs[name])
    interpreter.invoke()
    found = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
    return {name: next(one for one in found if one.shape == array.shape) for name, array in like.items()}


def main():
    # Frameworks print progress: what they print goes to stderr, and the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    commands = Commands()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(commands, order.pop("command"))(**order)
        except Exception:  # noqa: BLE001  # whatever the framework raises is the answer
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
