"""Transformers that read or write text: encoders, decoders, mixtures of experts, state spaces, encoder-decoders."""

from __future__ import annotations

from typing import Any

from bench.models.transformers_sizes import DECODER, ENCODER, LONGER_TEXT, TEXT, TWO_TEXTS, WORDS, Pair, Small

_OUTER = {"embedding_size": 64}
_NARROW = {"embedding_size": 32}
_PAD = {"pad_token_id": 1}

#: Class -> class of its configuration, and what that has beside the common sizes of an encoder.
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForSequenceClassification": ("BertConfig", {}),
    "BertForMaskedLM": ("BertConfig", {}),
    "RobertaForSequenceClassification": ("RobertaConfig", _PAD),
    "AlbertForSequenceClassification": ("AlbertConfig", _NARROW),
    "ElectraForSequenceClassification": ("ElectraConfig", _NARROW),
    "DebertaV2ForSequenceClassification": ("DebertaV2Config", {}),
    "DebertaForSequenceClassification": (
        "DebertaConfig",
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "XLMRobertaForTokenClassification": ("XLMRobertaConfig", _PAD),
    "CamembertForMaskedLM": ("CamembertConfig", _PAD),
    "SqueezeBertForSequenceClassification": ("SqueezeBertConfig", _OUTER),
    "MobileBertForSequenceClassification": (
        "MobileBertConfig",
        {**_NARROW, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    ),
    "ConvBertForSequenceClassification": ("ConvBertConfig", _OUTER),
    "RoFormerForSequenceClassification": ("RoFormerConfig", _OUTER),
    "FNetForSequenceClassification": ("FNetConfig", {}),
    "MPNetForSequenceClassification": ("MPNetConfig", _PAD),
    "LayoutLMForSequenceClassification": ("LayoutLMConfig", {"max_2d_position_embeddings": 64}),
    "LongformerForSequenceClassification": ("LongformerConfig", {**_PAD, "attention_window": 4}),
    "NystromformerForSequenceClassification": (
        "NystromformerConfig",
        {"num_landmarks": 4, "segment_means_seq_len": 16, "conv_kernel_size": 3},
    ),
    "RemBertForSequenceClassification": ("RemBertConfig", {"input_embedding_size": 32}),
    "ModernBertForSequenceClassification": ("ModernBertConfig", {"pad_token_id": 0, "local_attention": 8}),
    "IBertForSequenceClassification": ("IBertConfig", _PAD),
    "BigBirdForSequenceClassification": ("BigBirdConfig", {"attention_type": "original_full", "pad_token_id": 0}),
    "CanineForSequenceClassification": (
        "CanineConfig",
        {
            "pad_token_id": 0,
            "local_transformer_stride": 8,
            "downsampling_rate": 4,
            "num_hash_buckets": 64,
            "num_hash_functions": 4,
        },
    ),
    "EsmForSequenceClassification": (
        "EsmConfig",
        {**_PAD, "mask_token_id": 3, "position_embedding_type": "rotary", "token_dropout": False},
    ),
}

_GROUPED = {"num_key_value_heads": 2}
_WIDTH = {**_GROUPED, "head_dim": 16}
_FILLED = {**_GROUPED, "pad_token_id": 0}
_EXPERTS = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}

#: Class -> class of its configuration, and what that has beside the common sizes of a decoder.
_DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "OPTForCausalLM": ("OPTConfig", {"ffn_dim": 128, "word_embed_proj_dim": 64, "pad_token_id": 1}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", {}),
    "LlamaForCausalLM": ("LlamaConfig", _GROUPED),
    "MistralForCausalLM": ("MistralConfig", _GROUPED),
    "Qwen2ForCausalLM": ("Qwen2Config", _GROUPED),
    "Qwen3ForCausalLM": ("Qwen3Config", _WIDTH),
    "GemmaForCausalLM": ("GemmaConfig", {**_WIDTH, "pad_token_id": 0}),
    "Gemma2ForCausalLM": ("Gemma2Config", {**_WIDTH, "pad_token_id": 0}),
    "Gemma3ForCausalLM": ("Gemma3TextConfig", {**_WIDTH, "pad_token_id": 0}),
    "PhiForCausalLM": ("PhiConfig", {}),
    "Phi3ForCausalLM": ("Phi3Config", _FILLED),
    "StableLmForCausalLM": ("StableLmConfig", _GROUPED),
    "Olmo2ForCausalLM": ("Olmo2Config", _FILLED),
    "CohereForCausalLM": ("CohereConfig", _FILLED),
    "Starcoder2ForCausalLM": ("Starcoder2Config", _GROUPED),
    "PersimmonForCausalLM": ("PersimmonConfig", {}),
    "GraniteForCausalLM": ("GraniteConfig", _GROUPED),
    "GlmForCausalLM": ("GlmConfig", {**_WIDTH, "pad_token_id": 0}),
    "NemotronForCausalLM": ("NemotronConfig", _WIDTH),
    "BioGptForCausalLM": ("BioGptConfig", {"pad_token_id": 1}),
    "MixtralForCausalLM": ("MixtralConfig", {**_GROUPED, "num_local_experts": 4}),
    "Qwen2MoeForCausalLM": (
        "Qwen2MoeConfig",
        {**_GROUPED, **_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 64},
    ),
    "Qwen3MoeForCausalLM": ("Qwen3MoeConfig", {**_WIDTH, **_EXPERTS, "num_experts": 4}),
    "GptOssForCausalLM": ("GptOssConfig", {**_WIDTH, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "DeepseekV3ForCausalLM": (
        "DeepseekV3Config",
        {
            **_EXPERTS,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 24,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "first_k_dense_replace": 1,
        },
    ),
}

_ENDS = {"vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": 2}
_GPT = {**_ENDS, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4}
_NO_CACHE = {"use_cache": False}
_TURNED = {**_GPT, **_NO_CACHE, "rotary_dim": 8}

#: Those that name their sizes their own way.
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "DistilBertForSequenceClassification": (
        "DistilBertConfig",
        {"vocab_size": WORDS, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
    "FlaubertForSequenceClassification": (
        "FlaubertConfig",
        {"n_words": WORDS, "emb_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64},
    ),
    "XLNetForSequenceClassification": (
        "XLNetConfig",
        {"vocab_size": WORDS, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128},
    ),
    "FunnelForSequenceClassification": (
        "FunnelConfig",
        {"vocab_size": WORDS, "block_sizes": [1, 1], "d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 128},
    ),
    "GPT2LMHeadModel": ("GPT2Config", {**_GPT, **_NO_CACHE}),
    "OpenAIGPTLMHeadModel": ("OpenAIGPTConfig", _GPT),
    "GPTBigCodeForCausalLM": ("GPTBigCodeConfig", {**_GPT, **_NO_CACHE}),
    "GPTJForCausalLM": ("GPTJConfig", _TURNED),
    "CodeGenForCausalLM": ("CodeGenConfig", {**_TURNED, "n_ctx": 64}),
    "CTRLLMHeadModel": ("CTRLConfig", {**_GPT, **_NO_CACHE, "dff": 128}),
    "GPTNeoForCausalLM": (
        "GPTNeoConfig",
        {
            **_ENDS,
            **_NO_CACHE,
            "max_position_embeddings": 64,
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_size": 128,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "BloomForCausalLM": ("BloomConfig", {**_ENDS, **_NO_CACHE, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "MptForCausalLM": ("MptConfig", {**_ENDS, **_NO_CACHE, "d_model": 64, "n_layers": 2, "n_heads": 4}),
    "FalconForCausalLM": (
        "FalconConfig",
        {**_ENDS, **_NO_CACHE, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    "XGLMForCausalLM": (
        "XGLMConfig",
        {**_ENDS, **_NO_CACHE, "d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4},
    ),
    "MambaForCausalLM": (
        "MambaConfig",
        {**_ENDS, **_NO_CACHE, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    ),
    "Mamba2ForCausalLM": (
        "Mamba2Config",
        {
            **_ENDS,
            **_NO_CACHE,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 16,
            "n_groups": 2,
            "chunk_size": 8,
        },
    ),
    "RwkvForCausalLM": (
        "RwkvConfig",
        {**_ENDS, **_NO_CACHE, "context_length": 64, "hidden_size": 64, "num_hidden_layers": 2},
    ),
}

_T5 = {
    "vocab_size": WORDS,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "use_cache": False,
    "decoder_start_token_id": 0,
}
_BART = {
    "vocab_size": WORDS,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "use_cache": False,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}

#: Encoder-decoders: class -> class of its configuration, and its arguments.
_PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "T5ForConditionalGeneration": ("T5Config", _T5),
    "MT5ForConditionalGeneration": ("MT5Config", _T5),
    "UMT5ForConditionalGeneration": ("UMT5Config", _T5),
    "LongT5ForConditionalGeneration": ("LongT5Config", {**_T5, "local_radius": 3}),
    "BartForConditionalGeneration": ("BartConfig", _BART),
    "MBartForConditionalGeneration": ("MBartConfig", _BART),
    "M2M100ForConditionalGeneration": ("M2M100Config", _BART),
    "BlenderbotForConditionalGeneration": ("BlenderbotConfig", _BART),
    "MarianMTModel": ("MarianConfig", _BART),
    "PegasusForConditionalGeneration": ("PegasusConfig", _BART),
    "ProphetNetForConditionalGeneration": (
        "ProphetNetConfig",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_encoder_attention_heads": 4,
            "num_decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "max_position_embeddings": 64,
            "use_cache": False,
        },
    ),
}

MODELS: dict[str, Small] = {
    **{name: Small(kind, {**ENCODER, **own}, LONGER_TEXT) for name, (kind, own) in _ENCODERS.items()},
    **{name: Small(kind, {**DECODER, **own}, TEXT) for name, (kind, own) in _DECODERS.items()},
    **{name: Small(kind, own, TEXT) for name, (kind, own) in _OTHERS.items()},
    **{name: Small(kind, own, TWO_TEXTS, Pair) for name, (kind, own) in _PAIRS.items()},
}
