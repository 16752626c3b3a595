"""python retrain.py DATA FILE: load what the service gave, as the document does, and train it on for a moment."""

import json
import sys

import tensorflow as tf
from training import compile_model, load_dataset

data, file = sys.argv[1:]
tf.keras.utils.set_random_seed(1)
train_x, train_y, test_x, test_y = load_dataset(data)
pruned_model = tf.keras.models.load_model(file)
_, cut = pruned_model.evaluate(test_x, test_y, verbose=0)
compile_model(pruned_model)
pruned_model.fit(train_x, train_y, epochs=2, batch_size=32, verbose=0)
_, retrained = pruned_model.evaluate(test_x, test_y, verbose=0)
print(json.dumps({"cut": cut, "retrained": retrained}))
