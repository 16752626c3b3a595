"""python train.py DATA OUT: train the document's Keras model for a moment, save it as the document does."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from training import define_model, load_dataset

data, out = sys.argv[1], Path(sys.argv[2])
tf.keras.utils.set_random_seed(1)
train_x, train_y, test_x, test_y = load_dataset(data)
model = define_model()
model.fit(train_x, train_y, epochs=12, batch_size=32, verbose=0)
_, accuracy = model.evaluate(test_x, test_y, verbose=0)
for name, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
    np.savez(out / f"{name}.npz", x=x, y=y.argmax(axis=1))
model.save(out / "mnist_base.h5")
(out / "trained.json").write_text(json.dumps({"accuracy": accuracy}))
