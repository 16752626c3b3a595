"""Write ONNX files by both of PyTorch's exporters, and their likes by ONNX Runtime's optimizer, into FOLDER.

    .venv/bin/python bench/onnx_exports/by_torch.py FOLDER

Random weights; norms with statistics of their own. Needs the `bench` and `onnx` extras.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
import torchvision
import transformers
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

Make = Callable[[], nn.Module]


class FirstOutput(nn.Module):
    """A model of transformers or of segmentation as one from tensors to a tensor."""

    def __init__(self, model: nn.Module, key: str | int) -> None:
        super().__init__()
        self.model, self.key = model, key

    def forward(self, *inputs: Tensor) -> Any:
        masked = {"attention_mask": inputs[1]} if len(inputs) > 1 else {}
        return self.model(inputs[0], **masked)[self.key]


def image(size: int) -> tuple[Tensor, ...]:
    return (torch.randn(1, 3, size, size),)


def words(*, masked: bool = False) -> tuple[Tensor, ...]:
    given = torch.randint(0, 200, (2, 12))
    return (given, torch.ones_like(given)) if masked else (given,)


VISION, SEGMENTATION = torchvision.models, torchvision.models.segmentation
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
#: Model -> how it is made, its inputs, and the opsets: 0 is torch.export's own, by its exporter.
MODELS: dict[str, tuple[Make, tuple[Tensor, ...], tuple[int, ...]]] = {
    "resnet18": (VISION.resnet18, image(64), (9,)),
    "squeezenet": (VISION.squeezenet1_1, image(64), (9,)),
    "densenet": (VISION.densenet121, image(64), (9,)),
    "googlenet": (lambda: VISION.googlenet(init_weights=False, aux_logits=False), image(64), (10,)),
    "mobilenet_v3": (VISION.mobilenet_v3_small, image(64), (11,)),
    "shufflenet": (VISION.shufflenet_v2_x1_0, image(64), (9, 0)),
    "inception": (lambda: VISION.inception_v3(init_weights=False, aux_logits=False), image(128), (0,)),
    "effb0": (VISION.efficientnet_b0, image(64), (18,)),
    "convnext": (VISION.convnext_tiny, image(64), (17, 0)),
    "vit_b_16": (lambda: VISION.VisionTransformer(32, 8, 4, 8, 192, 768), image(32), (17, 0)),
    "vit_full": (VISION.vit_b_16, image(224), (17, 0)),
    "swin_t": (VISION.swin_t, image(64), (17, 0)),
    "deeplab": (
        lambda: FirstOutput(SEGMENTATION.deeplabv3_mobilenet_v3_large(weights_backbone=None), "out"),
        image(64),
        (12,),
    ),
    "lraspp": (
        lambda: FirstOutput(SEGMENTATION.lraspp_mobilenet_v3_large(weights_backbone=None), "out"),
        image(64),
        (0,),
    ),
    "bert": (
        lambda: FirstOutput(transformers.BertModel(transformers.BertConfig(vocab_size=200, **SMALL)), 0),
        words(masked=True),
        (14, 0),
    ),
    "gpt2": (
        lambda: FirstOutput(
            transformers.GPT2LMHeadModel(
                transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=200, use_cache=False)
            ),
            0,
        ),
        words(),
        (0,),
    ),
    "llama": (
        lambda: FirstOutput(
            transformers.LlamaForCausalLM(
                transformers.LlamaConfig(vocab_size=200, num_key_value_heads=2, use_cache=False, **SMALL)
            ),
            0,
        ),
        words(),
        (0,),
    ),
    "whisper": (
        lambda: FirstOutput(
            WhisperEncoder(
                transformers.WhisperConfig(
                    d_model=64,
                    encoder_layers=2,
                    encoder_attention_heads=4,
                    encoder_ffn_dim=128,
                    max_source_positions=50,
                )
            ),
            0,
        ),
        (torch.randn(2, 80, 100),),
        (17, 0),
    ),
    "vit_hf": (
        lambda: FirstOutput(
            transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)), 0
        ),
        image(32),
        (17,),
    ),
}
#: What goes through the runtime's optimizer, too.
OPTIMIZED = ("bert", "mobilenet_v3", "vit_hf", "gpt2", "llama", "whisper")


def main(folder: Path) -> None:
    """Export every model that isn't there."""
    warnings.simplefilter("ignore")
    for exporter in ("torch.onnx", "torch.export", "onnxruntime"):
        (folder / exporter).mkdir(parents=True, exist_ok=True)
    for name, (make, inputs, opsets) in MODELS.items():
        torch.manual_seed(0)
        model = make().eval()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.75, 1.25)
        for opset in opsets:
            path = folder / ("torch.onnx" if opset else "torch.export") / f"{name}_{opset or 20}.onnx"
            if not path.exists():
                _export(model, inputs, path, opset)
            if name in OPTIMIZED:
                _optimize(path, folder / "onnxruntime" / path.name)


def _export(model: nn.Module, inputs: tuple[Tensor, ...], path: Path, opset: int) -> None:
    if not opset:
        torch.onnx.export(model, inputs, str(path), dynamo=True, external_data=False, verbose=False)
        return
    names = [f"input{number}" for number in range(len(inputs))]
    free = {name: {0: "batch"} for name in names} if "swin" not in path.stem else None
    torch.onnx.export(model, inputs, str(path), dynamo=False, opset_version=opset, input_names=names, dynamic_axes=free)


def _optimize(path: Path, to: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(to)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
