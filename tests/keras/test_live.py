"""What is taken for a live Keras model: told by its classes' modules, with no Keras imported."""

from __future__ import annotations

import sys

import pytest
import torch

from coppice.keras_live import is_keras_model


def model_class(module: str) -> type:
    """A class called Model as that module would define it, and a user's subclass of it."""
    model = type("Model", (), {"__module__": module})
    return type("Mine", (model,), {"__module__": "__main__"})


@pytest.mark.parametrize(
    "module",
    [
        "keras.src.models.model",  # Keras 3
        "keras.engine.training",  # TensorFlow 2.6 to 2.12, and Keras 2
        "keras.src.engine.training",  # TensorFlow 2.13 to 2.15
        "tf_keras.src.engine.training",
        "tensorflow.python.keras.engine.training",  # TensorFlow up to 2.5
    ],
)
def test_a_model_of_any_keras_is_one(module: str) -> None:
    assert is_keras_model(model_class(module)())


@pytest.mark.parametrize("other", [torch.nn.Linear(2, 2), object(), model_class("my_project.models")(), "Model"])
def test_anything_else_is_not(other: object) -> None:
    assert not is_keras_model(other)


def test_asking_imports_no_keras() -> None:
    is_keras_model(model_class("keras.src.models.model")())
    assert not {"keras", "tensorflow"} & set(sys.modules)
