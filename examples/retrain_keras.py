"""Train a pruned Keras model on, with the model that it was cut from as its teacher: retrain.py, in Keras.

    python retrain_keras.py --dense mnist_base.h5 --pruned tmp7d8tkpfs.h5 --data train.npz --test test.npz \\
        --epochs 2 -o mnist_pruned.h5

The arrays `x` and `y` (class numbers) of an .npz file are the images and labels. Runs in TensorFlow 2.12 and in
Keras 3, whatever its backend. The loss, and why, is in retrain.py: T=2, weight=0.7; `--weight 0` is plain retraining.
Here its soft part is a cross entropy, which is the divergence and the teacher's entropy: a constant, without gradient.
"""

import argparse
import json

import numpy as np

try:
    from tensorflow import keras
    from tensorflow.math import log
except ImportError:  # Keras 3 on another backend
    import keras
    from keras.ops import log

#: Below it, a probability is not told from zero.
LEAST = 1e-7


def main():
    asked = arguments()
    keras.utils.set_random_seed(asked.seed)
    dense = keras.models.load_model(asked.dense, compile=False)
    pruned = keras.models.load_model(asked.pruned, compile=False)
    x, y = images(asked.data)
    # Without augmentation the teacher says the same in every epoch: it is asked once, and rides along with the labels.
    warm = softened(dense.predict(x, verbose=0), asked)
    targets = np.concatenate([np.eye(warm.shape[1], dtype="float32")[y], warm], axis=1)
    steps = asked.epochs * -(-len(x) // asked.batch)
    # Down to zero along a cosine, step by step: a short training ends where a long one would, with small steps.
    rate = keras.optimizers.schedules.CosineDecay(asked.rate, steps)
    pruned.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), loss=distillation(asked))
    tell(0, pruned, asked.test)
    for epoch in range(1, asked.epochs + 1):
        pruned.fit(x, targets, initial_epoch=epoch - 1, epochs=epoch, batch_size=asked.batch, verbose=0)
        tell(epoch, pruned, asked.test)
    # Without the loss, which only this file knows.
    pruned.compile()
    pruned.save(asked.output)


def distillation(asked):
    """The loss of retrain.py; its targets are labels and softened teacher side by side."""

    def loss(targets, found):
        classes = found.shape[1]
        found = found if asked.logits else log(found + LEAST)  # a softmax of it gives the probabilities again
        hard = keras.losses.categorical_crossentropy(targets[:, :classes], found, from_logits=True)
        warm = found / asked.temperature
        soft = keras.losses.categorical_crossentropy(targets[:, classes:], warm, from_logits=True)
        return (1 - asked.weight) * hard + asked.weight * asked.temperature**2 * soft

    return loss


def softened(output, asked):
    """The teacher's probabilities at the temperature."""
    raised = (output if asked.logits else np.log(output + LEAST)) / asked.temperature
    raised = np.exp(raised - raised.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def images(file):
    with np.load(file) as arrays:
        return arrays["x"], arrays["y"]


def tell(epoch, model, test):
    """One line of JSON; epoch 0 is the model as it came."""
    measured = {}
    if test:
        x, y = images(test)
        measured = {"accuracy": round(float((model.predict(x, verbose=0).argmax(axis=1) == y).mean()), 4)}
    print(json.dumps({"epoch": epoch, **measured}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", required=True, help="the model before the cut")
    parser.add_argument("--pruned", required=True, help="the model that the service gave")
    parser.add_argument("--data", required=True, help=".npz to train on")
    parser.add_argument("--test", help=".npz to measure on")
    parser.add_argument("--logits", action="store_true", help="the model's output is not probabilities")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate to start from (%(default)s)")
    parser.add_argument("--temperature", type=float, default=2.0, help="flattens the teacher's output (%(default)s)")
    parser.add_argument("--weight", type=float, default=0.7, help="of the teacher against the labels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
