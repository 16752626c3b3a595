"""`coppice.prune` on a live Keras model: saved by its own `save`, and handed back as a model of the same Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.dialects.frameworks import ENVS, QUIET, Framework

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

#: In our environment, with that of Keras 3 behind it: what a user has who installed both.
PROGRAM = """
import json, sys
sys.path.append(sys.argv[1])
import numpy as np
import keras
import coppice

layers = keras.layers
model = keras.Sequential([
    keras.Input((12, 12, 3)), layers.Conv2D(16, 3, activation="relu"), layers.BatchNormalization(),
    layers.Flatten(), layers.Dense(20, activation="relu"), layers.Dense(4),
])
model.compile("sgd", "mean_squared_error")
x = np.random.default_rng(0).random((4, 12, 12, 3), dtype="float32")
before = model.predict(x, verbose=0)
result = coppice.prune(model, percent=0.5)
groups = {group.name: group.channels for group in coppice.inspect(model).groups}
history = result.model.fit(x, before, verbose=0)
print(json.dumps({
    "groups": groups,
    "shapes": [list(weight.shape) for weight in result.model.get_weights()],
    "untouched": bool(np.array_equal(before, model.predict(x, verbose=0))),
    "same_class": type(result.model) is type(model),
    "loss": history.history["loss"][0],
}))
"""


def answer(environment: str) -> dict[str, Any]:
    packages = next((ENVS / environment / "lib").glob("python3*/site-packages"))
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(packages)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **QUIET}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_a_live_model_comes_back_smaller_and_of_its_own_kind(frameworks: Callable[[str], Framework]) -> None:
    assert frameworks("keras3").ready
    said = answer("keras3")
    assert said["groups"] == {"conv2d": 16, "dense": 20}
    assert said["shapes"] == [[3, 3, 3, 8], [8], [8], [8], [8], [8], [800, 10], [10], [10, 4], [4]]
    assert said["untouched"]
    assert said["same_class"]
    assert said["loss"] == pytest.approx(said["loss"])  # a number, not NaN
