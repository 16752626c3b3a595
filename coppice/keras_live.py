"""Live Keras models of a user's own process: saved through their own `save`, loaded through the Keras they came from.

Keras is never imported here: a model's class says which Keras it is of, and that module is loaded already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from coppice.errors import ModelNotSaved, NotAModel

#: Where the class Model lives: Keras 3, tf_keras, TensorFlow up to 2.15, Keras before 2.4.
_MODEL_MODULES = ("keras", "tf_keras", "tensorflow")


def is_keras_model(model: object) -> bool:
    """Whether the object is a Keras model of any version."""
    return _family(model) is not None


def save_live(model: Any, folder: Path) -> Path:
    """Save the model into the folder in the format that its version keeps best, and give the file."""
    path = folder / ("model.keras" if _is_keras_3(model) else "model.h5")
    try:
        model.save(str(path))
    except (NotImplementedError, ValueError, TypeError) as e:
        raise ModelNotSaved(f"this model can't be saved by its own save: {e}", field="model") from e
    return path


def load_live(model: Any, path: Path) -> Any:
    """Load a file with the Keras that `model` came from."""
    return _models_module(model).load_model(str(path))


def _family(model: object) -> str | None:
    for kind in type(model).__mro__:
        root = kind.__module__.split(".", 1)[0]
        if kind.__name__ == "Model" and root in _MODEL_MODULES:
            return root
    return None


def _is_keras_3(model: object) -> bool:
    """Keras 3 alone keeps its code in `keras.src` and says 3."""
    keras = sys.modules.get("keras")
    return _family(model) == "keras" and str(getattr(keras, "__version__", "2")).startswith("3")


def _models_module(model: object) -> Any:
    family = _family(model)
    if family is None:
        raise NotAModel(f"a {type(model).__name__} is not a Keras model.", field="model")
    root = sys.modules[family]
    if family == "keras" and not _is_keras_3(model) and "tensorflow" in sys.modules:
        root = sys.modules["tensorflow"]  # tf.keras of TensorFlow 2.6 to 2.15 is the package keras, behind tensorflow
    return root.keras.models if hasattr(root, "keras") and family != "tf_keras" else root.models
