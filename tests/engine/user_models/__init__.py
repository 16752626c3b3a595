"""What people write in plain torch: name -> model, and what one half must leave of it."""

from __future__ import annotations

from tests.engine.user_models import architectures, attention, convolutional, published, recurrent, structural, weights
from tests.engine.user_models.written import UserModel

MODELS: dict[str, UserModel] = {
    **architectures.MODELS,
    **attention.MODELS,
    **convolutional.MODELS,
    **published.MODELS,
    **recurrent.MODELS,
    **structural.MODELS,
    **weights.MODELS,
}
