"""Transformers, and convolutional networks of that library, that see, hear, or follow series of numbers."""

from __future__ import annotations

from typing import Any

from bench.models.entry import floats
from bench.models.transformers_sizes import (
    ENCODER,
    IMAGE,
    LARGER_IMAGE,
    PICTURE,
    WORDS,
    Small,
    SoundAndText,
    TextAndImage,
    sound_and_text,
    text_and_image,
)

_CLIP: dict[str, Any] = {
    "text_config": {**ENCODER, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 1},
    "vision_config": PICTURE,
    "projection_dim": 32,
}
_STAGES = {"hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]}
_SEGFORMER = {**_STAGES, "num_attention_heads": [1, 2, 4, 4], "decoder_hidden_size": 32}
_PYRAMID = {
    "image_size": 32,
    "hidden_sizes": [16, 32, 32, 64],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 4],
    "mlp_ratios": [2, 2, 2, 2],
}
_WINDOWS = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [1, 2, 1],
    "num_heads": [1, 2, 4],
    "window_size": 4,
}

_PICTURES: dict[str, Small] = {
    "ViTForImageClassification": Small("ViTConfig", PICTURE, IMAGE),
    "DeiTForImageClassification": Small("DeiTConfig", PICTURE, IMAGE),
    "BeitForImageClassification": Small("BeitConfig", PICTURE, IMAGE),
    "ViTMSNForImageClassification": Small("ViTMSNConfig", PICTURE, IMAGE),
    "IJepaForImageClassification": Small("IJepaConfig", PICTURE, IMAGE),
    "Dinov2ForImageClassification": Small("Dinov2Config", PICTURE, IMAGE),
    "Dinov2WithRegistersForImageClassification": Small(
        "Dinov2WithRegistersConfig", {**PICTURE, "num_register_tokens": 4}, IMAGE
    ),
    "ViTMAEForPreTraining": Small(
        "ViTMAEConfig",
        {
            **PICTURE,
            "decoder_hidden_size": 32,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 4,
            "decoder_intermediate_size": 64,
        },
        IMAGE,
    ),
    "YolosForObjectDetection": Small(
        "YolosConfig", {**PICTURE, "image_size": [32, 32], "num_detection_tokens": 6}, IMAGE
    ),
    "DetrForObjectDetection": Small(
        "DetrConfig",
        {
            "use_timm_backbone": False,
            "use_pretrained_backbone": False,
            "backbone": None,
            "d_model": 64,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "num_queries": 6,
        },
        LARGER_IMAGE,
    ),
    "SamVisionModel": Small(
        "SamVisionConfig",
        {
            **PICTURE,
            "image_size": 64,
            "output_channels": 32,
            "window_size": 4,
            "global_attn_indexes": [1],
            "mlp_dim": 128,
        },
        LARGER_IMAGE,
    ),
    "ConvNextForImageClassification": Small("ConvNextConfig", _STAGES, IMAGE),
    "ConvNextV2ForImageClassification": Small("ConvNextV2Config", _STAGES, IMAGE),
    "PoolFormerForImageClassification": Small("PoolFormerConfig", _STAGES, IMAGE),
    "FocalNetForImageClassification": Small("FocalNetConfig", {**_STAGES, "image_size": 32, "embed_dim": 16}, IMAGE),
    "SwinForImageClassification": Small("SwinConfig", _WINDOWS, IMAGE),
    "Swinv2ForImageClassification": Small("Swinv2Config", _WINDOWS, IMAGE),
    "PvtForImageClassification": Small("PvtConfig", {**_PYRAMID, "patch_sizes": [4, 2, 2, 2]}, IMAGE),
    "PvtV2ForImageClassification": Small("PvtV2Config", _PYRAMID, IMAGE),
    "GLPNForDepthEstimation": Small(
        "GLPNConfig",
        {name: sizes for name, sizes in _PYRAMID.items() if name != "image_size"} | {"decoder_hidden_size": 16},
        LARGER_IMAGE,
    ),
    "CvtForImageClassification": Small(
        "CvtConfig", {"embed_dim": [16, 32, 64], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}, IMAGE
    ),
    "HieraForImageClassification": Small(
        "HieraConfig",
        {
            "image_size": [64, 64],
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "query_stride": [2, 2],
            "num_query_pool": 1,
            "mlp_ratio": 2.0,
            "masked_unit_size": [8, 8],
            "masked_unit_attention": [True, False],
        },
        LARGER_IMAGE,
    ),
    "LevitForImageClassification": Small(
        "LevitConfig",
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
        LARGER_IMAGE,
    ),
    "SwiftFormerForImageClassification": Small(
        "SwiftFormerConfig", {"depths": [1, 1, 1, 1], "embed_dims": [16, 32, 32, 64]}, LARGER_IMAGE
    ),
    "MobileViTForImageClassification": Small(
        "MobileViTConfig",
        {"image_size": 64, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 96]},
        LARGER_IMAGE,
    ),
    "MobileViTV2ForImageClassification": Small(
        "MobileViTV2Config", {"image_size": 64, "width_multiplier": 0.25}, LARGER_IMAGE
    ),
    "MobileNetV1ForImageClassification": Small("MobileNetV1Config", {"depth_multiplier": 0.25}, LARGER_IMAGE),
    "MobileNetV2ForImageClassification": Small("MobileNetV2Config", {"depth_multiplier": 0.35}, LARGER_IMAGE),
    "EfficientNetForImageClassification": Small(
        "EfficientNetConfig", {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640}, LARGER_IMAGE
    ),
    "ResNetForImageClassification": Small(
        "ResNetConfig", {"embedding_size": 16, "hidden_sizes": [32, 64, 64], "depths": [1, 1, 1]}, IMAGE
    ),
    "RegNetForImageClassification": Small("RegNetConfig", {**_STAGES, "embedding_size": 16, "groups_width": 8}, IMAGE),
    "BitForImageClassification": Small("BitConfig", {**_STAGES, "embedding_size": 16, "num_groups": 8}, IMAGE),
    "SegformerForImageClassification": Small("SegformerConfig", _SEGFORMER, LARGER_IMAGE),
    "SegformerForSemanticSegmentation": Small("SegformerConfig", _SEGFORMER, LARGER_IMAGE),
    "ImageGPTForImageClassification": Small(
        "ImageGPTConfig",
        {"vocab_size": WORDS + 1, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "use_cache": False},
        lambda: text_and_image()[:1],
    ),
    "PerceiverForImageClassificationLearned": Small(
        "PerceiverConfig",
        {
            "num_latents": 16,
            "d_latents": 64,
            "d_model": 64,
            "num_blocks": 1,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 4,
            "image_size": 16,
        },
        floats((3, 16, 16)),
    ),
    "TimesformerForVideoClassification": Small(
        "TimesformerConfig", {**PICTURE, "num_frames": 2}, floats((2, 3, 32, 32))
    ),
    "VideoMAEForVideoClassification": Small("VideoMAEConfig", {**PICTURE, "num_frames": 4}, floats((4, 3, 32, 32))),
    "VivitForVideoClassification": Small(
        "VivitConfig", {**PICTURE, "num_frames": 4, "tubelet_size": [2, 8, 8]}, floats((4, 3, 32, 32))
    ),
}

_WITH_TEXT: dict[str, Small] = {
    "CLIPModel": Small("CLIPConfig", _CLIP, text_and_image, TextAndImage),
    "ChineseCLIPModel": Small(
        "ChineseCLIPConfig",
        {"text_config": ENCODER, "vision_config": PICTURE, "projection_dim": 32},
        text_and_image,
        TextAndImage,
    ),
    "SiglipModel": Small(
        "SiglipConfig",
        {"text_config": {**ENCODER, "projection_size": 64, "pad_token_id": 1}, "vision_config": PICTURE},
        text_and_image,
        TextAndImage,
    ),
    "SiglipForImageClassification": Small("SiglipConfig", {"vision_config": PICTURE}, IMAGE),
    "CLIPVisionModelWithProjection": Small("CLIPVisionConfig", {**PICTURE, "projection_dim": 32}, IMAGE),
    "BlipForImageTextRetrieval": Small(
        "BlipConfig",
        {
            "text_config": {
                **ENCODER,
                "encoder_hidden_size": 64,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "sep_token_id": 2,
                "pad_token_id": 0,
            },
            "vision_config": PICTURE,
            "image_text_hidden_size": 32,
        },
        text_and_image,
        TextAndImage,
    ),
    "ViltForImageAndTextRetrieval": Small(
        "ViltConfig", {**ENCODER, "image_size": 32, "patch_size": 8}, text_and_image, TextAndImage
    ),
}

_HEARS: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_WHISPER: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "num_mel_bins": 20,
    "max_source_positions": 30,
    "max_target_positions": 30,
    "classifier_proj_size": 32,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_WAVE, _SERIES = floats((1600,)), floats((32, 3))

_SOUNDS: dict[str, Small] = {
    "Wav2Vec2ForCTC": Small("Wav2Vec2Config", _HEARS, _WAVE),
    "HubertForCTC": Small("HubertConfig", _HEARS, _WAVE),
    "WavLMForCTC": Small("WavLMConfig", _HEARS, _WAVE),
    "SEWForCTC": Small("SEWConfig", {**_HEARS, "squeeze_factor": 2}, _WAVE),
    "Data2VecAudioForCTC": Small(
        "Data2VecAudioConfig", {**_HEARS, "conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2}, _WAVE
    ),
    "WhisperForAudioClassification": Small("WhisperConfig", _WHISPER, floats((20, 60))),
    "WhisperForConditionalGeneration": Small("WhisperConfig", _WHISPER, sound_and_text, SoundAndText),
    "ASTForAudioClassification": Small(
        "ASTConfig",
        {**PICTURE, "max_length": 64, "num_mel_bins": 32, "frequency_stride": 8, "time_stride": 8},
        floats((64, 32)),
    ),
    "EncodecModel": Small(
        "EncodecConfig",
        {
            "num_filters": 8,
            "hidden_size": 16,
            "codebook_dim": 16,
            "codebook_size": 32,
            "num_lstm_layers": 1,
            "upsampling_ratios": [4, 2],
        },
        floats((1, 320)),
    ),
    "SpeechT5HifiGan": Small(
        "SpeechT5HifiGanConfig",
        {
            "model_in_dim": 20,
            "upsample_initial_channel": 32,
            "upsample_rates": [4, 4],
            "upsample_kernel_sizes": [8, 8],
            "resblock_kernel_sizes": [3, 5],
            "resblock_dilation_sizes": [[1, 3], [1, 3]],
        },
        floats((20, 20)),
    ),
    "PatchTSTForPrediction": Small(
        "PatchTSTConfig",
        {
            "num_input_channels": 3,
            "context_length": 32,
            "patch_length": 8,
            "patch_stride": 8,
            "num_hidden_layers": 2,
            "d_model": 32,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "prediction_length": 8,
        },
        _SERIES,
    ),
    "PatchTSMixerForPrediction": Small(
        "PatchTSMixerConfig",
        {
            "num_input_channels": 3,
            "context_length": 32,
            "patch_length": 8,
            "patch_stride": 8,
            "num_layers": 2,
            "d_model": 16,
            "prediction_length": 8,
        },
        _SERIES,
    ),
}

MODELS: dict[str, Small] = {**_PICTURES, **_WITH_TEXT, **_SOUNDS}
