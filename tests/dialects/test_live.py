"""`coppice.prune` and `coppice.apply` on live Keras models, which come back as models of the same Keras."""

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

#: Environment -> the Keras in it, as its user imports it.
KERAS = {
    "keras3": "import keras",
    "litert": "import keras",  # on TensorFlow
    "litert tf_keras": "import tf_keras as keras",
    "tf212": "from tensorflow import keras",
}

#: In our environment with the user's before it, as for one who installed both. TensorFlow 2.12 asks for a
#: typing_extensions that is too old for torch, and runs with ours.
PROGRAM = """
import sys, typing_extensions
packages, importing, folder = sys.argv[1:]
sys.path.insert(0, packages)
import numpy as np
exec(importing)
import coppice, json

layers = keras.layers
numbers = np.random.default_rng(0)

def build():
    model = keras.Sequential([
        keras.Input((12, 12, 3)), layers.Conv2D(16, 3, activation="relu"), layers.BatchNormalization(),
        layers.Flatten(), layers.Dense(20, activation="relu"), layers.Dense(4),
    ])
    shapes = [one.shape for one in model.get_weights()]
    model.set_weights([numbers.random(shape, dtype="float32") - 0.3 * (len(shape) > 1) for shape in shapes])
    model.compile("sgd", "mean_squared_error")
    return model

def masked(model, channels):
    "The model with all else of what its first convolution gives at zero."
    arrays = model.get_weights()
    gone = np.setdiff1d(np.arange(16), channels)
    for one in arrays[:4]:  # kernel, bias, gamma, beta
        one[..., gone] = 0
    copy = build()
    copy.set_weights(arrays)
    return copy

model = build()
names = [layer.name for layer in model.layers if layer.name.startswith(("conv", "dense"))]
x = numbers.random((4, 12, 12, 3), dtype="float32")
before = model.predict(x, verbose=0)
result = coppice.prune(model, percent=0.5)
groups = [group.channels for group in coppice.inspect(model).groups]
history = result.model.fit(x, before, verbose=0)

result.plan.save(folder + "/plan.json")
plan = coppice.Plan.load(folder + "/plan.json").keeping(names[0], [0, 3, 5]).without(names[1])
other = build()
applied = coppice.apply(other, plan)
wanted, found = masked(other, [0, 3, 5]).predict(x, verbose=0), applied.model.predict(x, verbose=0)
print(json.dumps({
    "groups": groups,
    "shapes": [list(weight.shape) for weight in result.model.get_weights()],
    "untouched": bool(np.array_equal(before, model.predict(x, verbose=0))),
    "same_class": type(result.model) is type(model),
    "loss": history.history["loss"][0],
    "check": applied.report.verification.check,
    "applied": [list(weight.shape) for weight in applied.model.get_weights()],
    "difference": float(np.abs(found - wanted).max() / np.abs(wanted).max()),
}))
"""


@pytest.mark.parametrize("keras", KERAS)
def test_a_live_model_comes_back_smaller_and_its_plan_cuts_another(
    frameworks: Callable[[str], Framework], keras: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = keras.split()[0]
    assert frameworks(environment).ready
    packages = next((ENVS / environment / "lib").glob("python3*/site-packages"))
    arguments = [str(packages), KERAS[keras], str(tmp_path_factory.mktemp("plan"))]
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(environment), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])

    assert said["groups"] == [16, 20]
    assert said["shapes"] == [[3, 3, 3, 8], [8], [8], [8], [8], [8], [800, 10], [10], [10, 4], [4]]
    assert said["untouched"]
    assert said["same_class"]
    assert said["loss"] == pytest.approx(said["loss"])  # a number, not NaN
    assert said["check"] == "exact"
    assert said["applied"] == [[3, 3, 3, 3], [3], [3], [3], [3], [3], [300, 20], [20], [20, 4], [4]]
    assert said["difference"] < 1e-5


def _environment(name: str) -> dict[str, str]:
    backend = "torch" if name == "keras3" else "tensorflow"
    return {**os.environ, **QUIET, "KERAS_BACKEND": backend}
