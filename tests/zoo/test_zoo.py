"""Public models, the small ones of each kind, cut to half and held to an oracle that does not know the plan."""

from __future__ import annotations

import importlib
import os
import warnings

import pytest
import torch

from bench.models import catalogue
from bench.models.engines import RATIO, drawn
from bench.models.oracle import checked
from bench.models.widths import widths
from coppice import pipeline
from coppice.records.frameworks import Framework
from coppice.records.report import Progress
from coppice.records.request import Request

pytestmark = pytest.mark.slow

EXACT, STATISTICS = "exact", "statistics"

#: Model -> how far equality reaches, and the parameters that half of every group leave of it, in per cent at most.
MODELS: dict[str, tuple[str, int]] = {
    "transformers/BertForSequenceClassification": (STATISTICS, 29),
    "transformers/GPT2LMHeadModel": (STATISTICS, 28),
    "transformers/LlamaForCausalLM": (STATISTICS, 29),
    "transformers/T5ForConditionalGeneration": (EXACT, 53),  # its encoder's width is an output
    "transformers/ViTForImageClassification": (STATISTICS, 30),
    "transformers/CLIPModel": (EXACT, 60),  # as are both of its widths
    "transformers/SwinForImageClassification": (STATISTICS, 27),
    "transformers/DebertaV2ForSequenceClassification": (STATISTICS, 29),
    "timm/test_convnext3": (STATISTICS, 33),
    "timm/test_mambaout": (STATISTICS, 41),
    "timm/test_byobnet": (EXACT, 40),
    "timm/test_vit_relpos": (STATISTICS, 31),
    "timm/test_nfnet": (STATISTICS, 39),
    "timm/test_maxvit": (STATISTICS, 29),
    "timm/starnet_s050": (EXACT, 34),
    "timm/edgenext_xx_small": (STATISTICS, 30),
    "timm/lcnet_035": (EXACT, 45),
    "timm/tinynet_e": (EXACT, 42),
    "timm/efficientvit_m0": (EXACT, 28),
    "timm/cspnext_tiny": (EXACT, 29),
    "timm/xcit_nano_12_p16_224": (STATISTICS, 27),
    "timm/pvt_v2_b0": (STATISTICS, 28),
    "timm/convit_tiny": (STATISTICS, 27),
    "timm/swiftformer_xs": (EXACT, 29),
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn": (EXACT, 27),
    "torchvision/raft_small": (EXACT, 27),
    "torchvision/shufflenet_v2_x1_0": (EXACT, 75),  # every half of a half of its third stage must stay equally wide
    "torchvision/swin3d_t": (STATISTICS, 28),
}


@pytest.mark.parametrize("name", MODELS)
def test_half_of_a_public_model_is_cut_exactly(name: str) -> None:
    outcome, left = MODELS[name]
    _needs(name.partition("/")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, not ours
        torch.manual_seed(0)
        network = drawn(catalogue.named(name))
        pruned = pipeline.prune(network, Request(framework=Framework.PYTORCH, percent=RATIO), _silent)
        told = checked(network, pruned.module)
    assert told["outcome"] == outcome, told
    before, after = (
        sum(tensor.numel() for tensor in module.parameters()) for module in (network.module, pruned.module)
    )
    assert 100 * after <= left * before, f"{100 * after / before:.1f} % is left"
    assert all(width >= 1 for width in widths(pruned.module).values())


def _needs(source: str) -> None:
    """At home a framework may be missing; in continuous integration it may not."""
    if os.environ.get("CI") != "true":
        pytest.importorskip(source)
    importlib.import_module(source)


def _silent(_: Progress) -> None:
    """Nobody waits for a step."""
