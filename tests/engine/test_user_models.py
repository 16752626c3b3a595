"""Models as people write them: one half of every group goes, what stays is what was worked out, and it is verified."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from coppice import rules
from coppice.channels import Axes
from coppice.records.report import Check
from coppice.tracing import Call, Rule, trace
from tests.engine.models import cut, network
from tests.engine.user_models import MODELS
from tests.engine.user_models.written import UserModel

#: Kinds of which one stands for all in the quick suite.
QUICK = (
    "GRU of 1 layers, 2 directions",
    "RMS norm by hand",
    "a convolution along the channels",
    "a convolutional LSTM by hand",
    "a mask that is set where it is small",
    "a shortcut by strides and padding",
    "an image pooled and unpooled",
    "attention by hand, three layers and batched products",
    "channel shuffle by view",
    "depthwise with two filters per channel",
    "embeddings tied as a parameter",
    "every other channel by slicing",
    "group norm",
    "halves that pass through blocks and are joined",
    "losses in the forward",
    "multi-head attention",
    "places turned in complex numbers",
    "questions about all channels",
    "spectral norm",
    "the step that an index names",
    "three parts by their sizes",
    "weight norm of old",
    "weight standardisation by batch norm",
)
CASES = [
    pytest.param(model, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, model in MODELS.items()
]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("model", CASES)
def test_half_of_every_group_goes(model: UserModel) -> None:
    torch.manual_seed(0)
    net = network(model.build(), inputs=model.inputs())
    found, refused = cut(net, 0.5)

    stored = {**dict(found.module.named_parameters(remove_duplicate=False)), **dict(found.module.named_buffers())}
    assert {name: tuple(stored[name].shape) for name in model.left} == dict(model.left)
    assert found.verification.check is (model.check if found.plan else Check.NONE)
    frozen = [entry.reason for entry in trace(net, rules.rule_of).channels.frozen]
    assert not model.reason or any(model.reason in reason for reason in (*frozen, *refused.values()))
    assert model.reason or not refused


@pytest.mark.slow
@pytest.mark.parametrize("percent", [0.3, 0.7])
@pytest.mark.parametrize("name", ["LSTM of 2 layers, 2 directions", "a transformer encoder", "weight norm", "maxout"])
def test_other_shares_go_too(name: str, percent: float) -> None:
    torch.manual_seed(0)
    net = network(MODELS[name].build(), inputs=MODELS[name].inputs())
    found, refused = cut(net, percent)

    assert refused == {}
    assert found.verification.check is MODELS[name].check
    assert sum(p.numel() for p in found.module.parameters()) < sum(p.numel() for p in net.module.parameters())


def _backwards(row: str) -> Rule:
    """The rule of a row, but with the labels of the first output reversed along every axis."""
    rule = rules.RULES[row]

    def broken(call: Call) -> Sequence[Axes]:
        first, *rest = rule(call)
        return [tuple(labels[::-1].copy() for labels in first), *rest]

    return broken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("aten::_embedding_bag", "a bag of embeddings"),
        ("aten::_fft_c2r", "spectra of the image"),
        ("aten::_softmax", "a softmax over the channels"),
        ("aten::_trilinear", "a bilinear layer"),
        ("aten::_weight_norm_interface", "weight norm"),
        ("aten::col2im", "windows unfolded and folded"),
        ("aten::constant_pad_nd", "a shortcut by strides and padding"),
        ("aten::gather", "the step that an index names"),
        ("aten::grid_sampler_2d", "sampling along a learned flow"),
        ("aten::index_add", "nodes that send messages along edges"),
        ("aten::max_unpool2d", "an image pooled and unpooled"),
        ("aten::native_group_norm", "group norm"),
        ("aten::native_layer_norm", "a transformer encoder"),
        ("aten::scatter", "steps scattered to their places"),
        ("aten::_pack_padded_sequence", "packed sequences"),
        ("aten::slice", "every other channel by slicing"),
        ("aten::view_as_complex", "a filter of complex numbers over all steps"),
    ],
)
def test_a_broken_rule_fails_the_oracle(row: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = network(MODELS[name].build(), inputs=MODELS[name].inputs())
    assert cut(net, 0.5, criterion="random")[1] == {}
    monkeypatch.setitem(rules.RULES, row, _backwards(row))
    found, refused = cut(net, 0.5, criterion="random")
    assert refused or not found.plan
