"""Hugging Face transformers built from small configurations, with the heads that people train them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.models.entry import BATCH, Entry, Inputs, floats, tokens

_WORDS = 100
_ENCODER = {
    "vocab_size": _WORDS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}
_DECODER = {**_ENCODER, "use_cache": False, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
_GROUPED = {**_DECODER, "num_key_value_heads": 2}
_PICTURE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT, _IMAGE = tokens(12, below=_WORDS), floats((3, 32, 32))


class _Pair(nn.Module):
    """An encoder-decoder on two sequences, given in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> Any:
        return self.model(input_ids=source, decoder_input_ids=target)


class _TextAndImage(nn.Module):
    """A model of text and pictures, given in order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> Any:
        return self.model(input_ids=text, pixel_values=image)


def _text_and_image() -> Inputs:
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(_WORDS, (BATCH, 12), generator=generator)
    return text, torch.randn(BATCH, 3, 32, 32, generator=generator)


_SMALL_T5 = {
    "vocab_size": _WORDS,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "use_cache": False,
    "decoder_start_token_id": 0,
}
_CLIP_PARTS = {
    "text_config": {**_ENCODER, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 1},
    "vision_config": _PICTURE,
    "projection_dim": 32,
}
_BART = {
    "vocab_size": _WORDS,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "use_cache": False,
}
_GPT2 = {
    "vocab_size": _WORDS,
    "n_positions": 64,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "use_cache": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SEGFORMER = {
    "hidden_sizes": [16, 32, 64, 64],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 4, 4],
    "decoder_hidden_size": 32,
}

#: Class -> class of its configuration, arguments of that, inputs, what goes around the model.
_MODELS: dict[str, tuple[str, dict[str, Any], Callable[[], Inputs], Callable[[nn.Module], nn.Module] | None]] = {
    "BertForSequenceClassification": ("BertConfig", _ENCODER, _TEXT, None),
    "BertForMaskedLM": ("BertConfig", _ENCODER, _TEXT, None),
    "RobertaForSequenceClassification": ("RobertaConfig", {**_ENCODER, "pad_token_id": 1}, _TEXT, None),
    "DistilBertForSequenceClassification": (
        "DistilBertConfig",
        {"vocab_size": _WORDS, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        _TEXT,
        None,
    ),
    "AlbertForSequenceClassification": ("AlbertConfig", {**_ENCODER, "embedding_size": 32}, _TEXT, None),
    "ElectraForSequenceClassification": ("ElectraConfig", {**_ENCODER, "embedding_size": 32}, _TEXT, None),
    "DebertaV2ForSequenceClassification": ("DebertaV2Config", _ENCODER, _TEXT, None),
    "GPT2LMHeadModel": ("GPT2Config", _GPT2, _TEXT, None),
    "OPTForCausalLM": (
        "OPTConfig",
        {**_DECODER, "ffn_dim": 128, "word_embed_proj_dim": 64, "pad_token_id": 1},
        _TEXT,
        None,
    ),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", _DECODER, _TEXT, None),
    "LlamaForCausalLM": ("LlamaConfig", _GROUPED, _TEXT, None),
    "MistralForCausalLM": ("MistralConfig", _GROUPED, _TEXT, None),
    "Qwen2ForCausalLM": ("Qwen2Config", _GROUPED, _TEXT, None),
    "Qwen3ForCausalLM": ("Qwen3Config", {**_GROUPED, "head_dim": 16}, _TEXT, None),
    "GemmaForCausalLM": ("GemmaConfig", {**_GROUPED, "head_dim": 16, "pad_token_id": 0}, _TEXT, None),
    "PhiForCausalLM": ("PhiConfig", _DECODER, _TEXT, None),
    "T5ForConditionalGeneration": ("T5Config", _SMALL_T5, tokens(12, 7, below=_WORDS), _Pair),
    "BartForConditionalGeneration": ("BartConfig", _BART, tokens(12, 7, below=_WORDS), _Pair),
    "ViTForImageClassification": ("ViTConfig", _PICTURE, _IMAGE, None),
    "DeiTForImageClassification": ("DeiTConfig", _PICTURE, _IMAGE, None),
    "BeitForImageClassification": ("BeitConfig", _PICTURE, _IMAGE, None),
    "Dinov2ForImageClassification": ("Dinov2Config", _PICTURE, _IMAGE, None),
    "ConvNextForImageClassification": (
        "ConvNextConfig",
        {"hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]},
        _IMAGE,
        None,
    ),
    "SwinForImageClassification": (
        "SwinConfig",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [1, 2, 1],
            "num_heads": [1, 2, 4],
            "window_size": 4,
        },
        _IMAGE,
        None,
    ),
    "ResNetForImageClassification": (
        "ResNetConfig",
        {"embedding_size": 16, "hidden_sizes": [32, 64, 64], "depths": [1, 1, 1]},
        _IMAGE,
        None,
    ),
    "SegformerForSemanticSegmentation": ("SegformerConfig", _SEGFORMER, floats((3, 64, 64)), None),
    "CLIPModel": ("CLIPConfig", _CLIP_PARTS, _text_and_image, _TextAndImage),
}


def entries() -> Iterator[Entry]:
    """One entry for each class of the table."""
    for name, (configuration, arguments, inputs, around) in _MODELS.items():
        yield Entry(
            name=f"transformers/{name}",
            family="transformers",
            build=partial(_build, name, configuration, arguments, around),
            inputs=inputs,
            ready=partial(_class, name),
        )


def _build(
    name: str, configuration: str, arguments: dict[str, Any], around: Callable[[nn.Module], nn.Module] | None
) -> nn.Module:
    model: nn.Module = _class(name)(_class(configuration)(**arguments))
    return model if around is None else around(model)


def _class(name: str) -> Any:
    import transformers

    return getattr(transformers, name)
