"""torchvision's transformers, in small: they reshape by their own attributes, and lose width everywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.records.report import Check
from tests.engine.models import cut, network


def vision_transformer() -> nn.Module:
    prepare_torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(  # type: ignore[no-any-return]
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10
    )


def swin(version: int) -> nn.Module:
    prepare_torchvision()
    from torchvision.models import swin_transformer as library

    kind = {
        1: {},
        2: {"block": library.SwinTransformerBlockV2, "downsample_layer": library.PatchMergingV2},
    }[version]
    return library.SwinTransformer(  # type: ignore[no-any-return]
        patch_size=[4, 4], embed_dim=32, depths=[2, 1], num_heads=[2, 4], window_size=[4, 4], num_classes=10, **kind
    )


def max_vit() -> nn.Module:
    prepare_torchvision()
    from torchvision.models.maxvit import MaxVit

    return MaxVit(  # type: ignore[no-any-return]
        input_size=(32, 32),
        stem_channels=16,
        partition_size=2,
        block_channels=[16, 32],
        block_layers=[1, 1],
        head_dim=8,
        stochastic_depth_prob=0.0,
        num_classes=10,
    )


#: name -> (builder, shapes that half of everything leaves).
MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, tuple[int, ...]]]] = {
    "vit": (
        vision_transformer,
        {
            "encoder.layers.encoder_layer_1.self_attention.in_proj_weight": (48, 16),
            "encoder.layers.encoder_layer_1.mlp.0.weight": (32, 16),
            "class_token": (1, 1, 16),
            "heads.head.weight": (10, 16),
        },
    ),
    "swin": (
        lambda: swin(1),
        {"features.1.1.attn.qkv.weight": (48, 16), "features.2.reduction.weight": (32, 64), "head.weight": (10, 32)},
    ),
    "swin v2": (
        lambda: swin(2),
        {"features.1.1.attn.qkv.weight": (48, 16), "features.2.reduction.weight": (32, 64), "head.weight": (10, 32)},
    ),
    "maxvit": (
        max_vit,
        {
            "blocks.1.layers.0.layers.grid_attention.attn_layer.1.to_qkv.weight": (48, 16),
            "blocks.1.layers.0.layers.grid_attention.mlp_layer.1.weight": (64, 16),
        },
    ),
}
CASES = [pytest.param(name, marks=() if name == "vit" else pytest.mark.slow) for name in MODELS]


@pytest.mark.parametrize("name", CASES)
def test_every_width_is_halved(name: str) -> None:
    build, shapes = MODELS[name]
    found, refused = cut(network(build(), (3, 32, 32)), 0.5)
    assert refused == {}
    state = found.module.state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert found.verification.check is Check.STATISTICS
