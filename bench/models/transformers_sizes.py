"""Small configurations that the transformers of the zoo share, what feeds them, and what goes around some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.models.entry import BATCH, Inputs, floats, tokens


@dataclass(frozen=True, slots=True)
class Small:
    """A model of a small configuration: the class of that, its arguments, what it is fed, and what goes around it."""

    configuration: str
    arguments: dict[str, Any]
    inputs: Callable[[], Inputs]
    around: Callable[[nn.Module], nn.Module] | None = None


WORDS = 100
ENCODER: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}
DECODER: dict[str, Any] = {**ENCODER, "use_cache": False, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
PICTURE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
TEXT, LONGER_TEXT, TWO_TEXTS = tokens(12, below=WORDS), tokens(16, below=WORDS), tokens(12, 7, below=WORDS)
IMAGE, LARGER_IMAGE = floats((3, 32, 32)), floats((3, 64, 64))


class Pair(nn.Module):
    """An encoder-decoder on two sequences, given in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> Any:
        return self.model(input_ids=source, decoder_input_ids=target)


class TextAndImage(nn.Module):
    """A model of text and pictures, given in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> Any:
        return self.model(input_ids=text, pixel_values=image)


class SoundAndText(nn.Module):
    """An encoder-decoder that hears and writes, given in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sound: torch.Tensor, text: torch.Tensor) -> Any:
        return self.model(input_features=sound, decoder_input_ids=text)


def text_and_image() -> Inputs:
    """A sequence of words and a picture."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(WORDS, (BATCH, 12), generator=generator)
    return text, torch.randn(BATCH, 3, 32, 32, generator=generator)


def sound_and_text() -> Inputs:
    """A spectrogram and a sequence of words."""
    generator = torch.Generator().manual_seed(1)
    sound = torch.randn(BATCH, 20, 60, generator=generator)
    return sound, torch.randint(WORDS, (BATCH, 7), generator=generator)
