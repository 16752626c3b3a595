"""Models of the libraries that people use: the result is of their class, and does what such models do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import coppice

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
models = pytest.importorskip("torchvision.models")

pytestmark = pytest.mark.slow

IMAGE = torch.zeros(1, 3, 64, 64)
TOKENS = torch.ones(1, 6, dtype=torch.long)


def _bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model: nn.Module = transformers.BertForSequenceClassification(config)
    return model


def _llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model: nn.Module = transformers.LlamaForCausalLM(config)
    return model


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model


def _vit() -> nn.Module:
    config = transformers.ViTConfig(
        image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model: nn.Module = transformers.ViTForImageClassification(config)
    return model


FAMILIES: dict[str, tuple[Callable[[], nn.Module], torch.Tensor]] = {
    "torchvision resnet18": (lambda: models.resnet18(num_classes=10), IMAGE),
    "torchvision mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=10), IMAGE),
    "timm mobilenetv3": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=10), IMAGE),
    "timm resnet10t": (lambda: timm.create_model("resnet10t", num_classes=10), IMAGE),
    "timm convnext": (lambda: timm.create_model("convnext_atto", num_classes=10), IMAGE),
    "timm vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10, depth=2), IMAGE),
    "transformers bert": (_bert, TOKENS),
    "transformers llama": (_llama, TOKENS),
    "transformers gpt2": (_gpt2, TOKENS),
    "transformers vit": (_vit, IMAGE),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_result_is_of_the_users_class_and_its_plan_replays(name: str) -> None:
    build, inputs = FAMILIES[name]
    torch.manual_seed(0)
    model = build().eval()
    result = coppice.prune(model, percent=0.25, example_inputs=inputs)

    assert type(result.model) is type(model)
    assert result.report.after.parameters < result.report.before.parameters
    torch.manual_seed(1)
    again = coppice.apply(build().eval(), result.plan, example_inputs=inputs)
    assert again.plan == result.plan
    assert again.report.after.parameters == result.report.after.parameters


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_a_timm_model_still_gives_its_features(name: str) -> None:
    model = timm.create_model(name, num_classes=10).eval()
    result = coppice.prune(model, percent=0.25, example_inputs=IMAGE)
    found = result.model
    assert any(note.startswith("num_features, head_hidden_size and feature_info state") for note in result.report.notes)

    features = found.forward_features(IMAGE)
    assert torch.equal(found.forward_head(features), found(IMAGE))
    assert features.shape[1] < model.forward_features(IMAGE).shape[1]


def test_a_pruned_bert_is_kept_as_the_report_says(tmp_path: Path) -> None:
    model = _bert().eval()
    result = coppice.prune(model, percent=0.25, example_inputs={"input_ids": TOKENS})
    assert any(note.startswith("from_pretrained builds a model by its configuration") for note in result.report.notes)
    expected = result.model(TOKENS).logits

    torch.save(result.model, tmp_path / "model.pt")
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=False)(TOKENS).logits, expected)

    result.plan.save(tmp_path / "plan.json")
    plan = coppice.Plan.load(tmp_path / "plan.json")
    again = coppice.apply(type(model)(model.config).eval(), plan, example_inputs={"input_ids": TOKENS}).model
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again(TOKENS).logits, expected)
