"""The tutorial's Keras walk by a reader with the documents' TensorFlow: train, send, fetch, load, retrain."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from examples.demo import digits
from tests.documents.printed import API_HUB_TENSORFLOW
from tests.documents.pruned_h5 import PARAMETERS
from tests.documents.reader import Reader

pytestmark = pytest.mark.dialects

ROOT = Path(__file__).parents[2]

#: The document's model and data loading, shortened to the digits that are here.
PROGRAMS = ROOT / "examples" / "demo" / "user_keras"

#: The cores are shared with the service.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

TRAIN = """
model = define_model()
model.fit(trainX, trainY, epochs=3, batch_size=32, verbose=0)
model.save('{base}')
_, acc = model.evaluate(testX, testY, verbose=0)
print('accuracy', acc)
"""

RETRAIN = """
pruned_model = tf.keras.models.load_model('{pruned}')
pruned_model.summary()
print('learning rate', float(pruned_model.optimizer.learning_rate))

compile_model(pruned_model)
history = pruned_model.fit(trainX, trainY, epochs=3, batch_size=32, validation_data=(testX, testY), verbose=0)
_, acc = pruned_model.evaluate(testX, testY, verbose=0)
pruned_model.save('mnist_pruned.h5')
print('accuracy', acc)
"""


def keras(environment: str, folder: Path, program: str) -> str:
    """Run a program in one of the other environments; a missing one skips at home and fails under CI=true."""
    python = ROOT / ".envs" / environment / "bin" / "python"
    if not python.exists():
        reason = f"the environment {environment} is not set up: scripts/dialects {environment}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    head = (
        f"import sys; sys.path.insert(0, {str(PROGRAMS)!r})\nimport tensorflow as tf\n"
        "from training import compile_model, define_model, load_dataset\ntf.random.set_seed(1)\n"
        "trainX, trainY, testX, testY = load_dataset('.')\n"
    )
    done = subprocess.run(
        [str(python), "-B", "-c", head + program],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracy(printed: str) -> float:
    return float(printed.rpartition("accuracy")[2])


def walk(reader: Reader, base: str, pruned: str) -> None:
    calls = API_HUB_TENSORFLOW
    txid = str(reader.answer(calls.prune.replace("mnist_base.h5", base))["txid"])
    status = reader.poll(calls, txid)
    assert status["status"] == "0", status
    assert status["filename"].endswith(Path(pruned).suffix)
    reader.shell(calls.download.replace("tmp7d8tkpfs.h5", pruned), txid=txid)


def check_retrained(printed: str, before: float) -> None:
    assert f"Total params: {PARAMETERS:,}" in printed
    assert "learning rate 0.00999" in printed or "learning rate 0.01" in printed  # compiled as it was
    assert accuracy(printed) > before - 0.1


@pytest.mark.parametrize("environment", ["tf23", "tf212"])
def test_an_h5_is_trained_sent_fetched_loaded_and_retrained(reader: Reader, environment: str) -> None:
    digits.write(reader.folder)
    before = accuracy(keras(environment, reader.folder, TRAIN.format(base="mnist_base.h5")))
    walk(reader, "mnist_base.h5", "tmp7d8tkpfs.h5")
    check_retrained(keras(environment, reader.folder, RETRAIN.format(pruned="tmp7d8tkpfs.h5")), before)


@pytest.mark.parametrize("environment", ["tf23", "tf212"])
def test_a_zipped_folder_is_trained_sent_fetched_loaded_and_retrained(reader: Reader, environment: str) -> None:
    digits.write(reader.folder)
    before = accuracy(keras(environment, reader.folder, TRAIN.format(base="mnist_base")))
    shutil.make_archive(str(reader.folder / "mnist_base"), "zip", reader.folder, "mnist_base")
    walk(reader, "mnist_base.zip", "tmp7d8tkpfs.zip")
    shutil.unpack_archive(reader.folder / "tmp7d8tkpfs.zip", reader.folder / "unpacked")
    (folder,) = {path.parent for path in (reader.folder / "unpacked").rglob("saved_model.pb")}
    check_retrained(keras(environment, reader.folder, RETRAIN.format(pruned=folder)), before)
