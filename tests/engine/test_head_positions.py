"""Every head keeps positions of its own, as many as the others; queries and keys of a head keep the same ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import coppice
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.records.report import Check
from tests.engine.attention import ByDivision, ByHeadWidth, GroupedQueries, Stream
from tests.engine.models import cut, network

HEADS, WIDTH = 4, 8


def positions(kept: tuple[int, ...], blocks: int, heads: int = HEADS, width: int = WIDTH) -> list[list[list[int]]]:
    """Per block (queries, keys, values) of a projection and per head: the positions kept within the head."""
    found: list[list[list[int]]] = [[[] for _ in range(heads)] for _ in range(blocks)]
    for position in kept:
        found[position // (heads * width)][position // width % heads].append(position % width)
    return found


def counts(found: list[list[list[int]]]) -> set[int]:
    return {len(head) for block in found for head in block}


@pytest.mark.parametrize("block", [ByHeadWidth, ByDivision])
def test_queries_and_keys_of_a_head_agree_and_nothing_else_need(block: Callable[[int, int, int], nn.Module]) -> None:
    net = network(Stream(block, 32, 64), (6, 12))  # type: ignore[arg-type]
    found, refused = cut(net, 0.5, "random")
    assert (refused, found.verification.check) == ({}, Check.EXACT)
    for path in ("blocks.0", "blocks.1"):
        queries, keys, values = positions(found.plan.kept[f"{path}.qkv.weight"][0], 3)
        assert counts([queries, keys, values]) == {WIDTH // 2}
        assert queries == keys
        assert len({tuple(head) for head in (*queries, *values)}) > HEADS  # equal by chance: some, not all
        assert [values] == positions(found.plan.kept[f"{path}.proj.weight"][1], 1)


def test_queries_that_share_keys_share_their_positions() -> None:
    found, _ = cut(network(GroupedQueries(16), (6, 12)), 0.5, "random")
    (queries,), (keys,), (values,) = (
        positions(found.plan.kept[f"{name}.weight"][0], 1, heads, 16) for name, heads in (("q", 4), ("k", 2), ("v", 2))
    )
    assert queries == [keys[0], keys[0], keys[1], keys[1]]
    assert keys[0] != keys[1]
    assert values[0] != values[1]


class Shared(nn.Module):
    """Weights over the width of a head that all heads share, as the norms of queries and keys are."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.scale, self.proj = nn.Linear(12, 96), nn.Parameter(torch.rand(WIDTH) + 1), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = (q * self.scale @ k.mT).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def test_a_weight_that_heads_share_ties_those_who_meet_it() -> None:
    found, refused = cut(network(Shared(), (6, 12)), 0.5, "random")
    assert (refused, found.verification.check) == ({}, Check.EXACT)
    queries, keys, values = positions(found.plan.kept["qkv.weight"][0], 3)
    (kept,) = {tuple(head) for head in (*queries, *keys)}
    assert kept == found.plan.kept["scale"][0]
    assert len({tuple(head) for head in values}) > 1


class Mixed(nn.Module):
    """Heads that look at each other: none of these leaves a head its own positions."""

    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mix, self.into, self.out = mix, nn.Linear(12, 32), nn.Linear(32, 5)
        self.less = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.into(x).view(len(x), HEADS, -1)).flatten(1)
        return self.out(y) if y.shape[1] == self.out.in_features else self.less(y)  # type: ignore[no-any-return]


MIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "turned around": lambda x: x + x.flip(1),
    "rolled": lambda x: x * x.roll(1, 1),
    "softmax over heads": lambda x: x.softmax(1),
    "summed": lambda x: x.sum(1),
    "written over": lambda x: x.clone().index_fill_(1, torch.tensor([0]), 0.0) + x,
    "interleaved": lambda x: x.transpose(1, 2),
    "cut": lambda x: torch.cat([x[:, :2], x[:, 2:].flip(1)], 1),
    "each with the first": lambda x: x * x[:, :1],
    "matrix of heads": lambda x: x @ x.mT @ x,
    "in place": lambda x: x.mul_(2).transpose_(0, 1).transpose_(0, 1),
}


@pytest.mark.parametrize("name", MIXES)
def test_heads_that_meet_are_cut_so_that_the_oracle_holds(name: str) -> None:
    found, refused = cut(network(Mixed(MIXES[name]), (12,)), 0.5, "random")
    assert refused == {}
    assert counts(positions(found.plan.kept["into.weight"][0], 1)) == {WIDTH // 2}


def test_torch_attention_and_its_fused_projection_keep_positions_of_each_head() -> None:
    layer = nn.TransformerEncoderLayer(32, HEADS, 64, batch_first=True)
    model = nn.Sequential(nn.Linear(12, 32), nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(192, 5))
    found, refused = cut(network(model, (6, 12)), 0.5, "random")
    assert refused == {}
    queries, keys, values = positions(found.plan.kept["1.layers.0.self_attn.in_proj_weight"][0], 3)
    assert queries == keys
    assert len({tuple(head) for head in (*queries, *values)}) > HEADS


@pytest.mark.slow
def test_torchvisions_transformer_keeps_positions_of_each_head() -> None:
    prepare_torchvision()
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 16, 2, 4, 64, 128, num_classes=5)
    result = coppice.prune(model, percent=0.5, example_inputs=torch.rand(1, 3, 32, 32), criterion="random")
    name = "encoder.layers.encoder_layer_1.self_attention.in_proj_weight"
    queries, keys, values = positions(result.plan.kept[name][0], 3, 4, 16)
    assert counts([queries, keys, values]) == {8}
    assert queries == keys
    assert len({tuple(head) for head in (*queries, *values)}) == 8
    assert result.report.verification.check is not Check.NONE


@pytest.mark.slow
def test_timms_transformer_keeps_positions_of_each_head() -> None:
    import timm

    model = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=5)
    result = coppice.prune(model, percent=0.5, example_inputs=torch.rand(1, 3, 32, 32), criterion="random")
    queries, keys, values = positions(result.plan.kept["blocks.1.attn.qkv.weight"][0], 3, 3, 64)
    assert queries == keys
    assert len({tuple(head) for head in (*queries, *values)}) == 6
    assert F.softmax(result.model(torch.rand(1, 3, 32, 32)), -1).isfinite().all()


@pytest.mark.slow
def test_gpt2s_transposed_projection_keeps_positions_of_each_head() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=1, n_head=HEADS, use_cache=False)
    net = network(GPT2LMHeadModel(config), inputs=(torch.arange(12).view(2, 6),))
    found, refused = cut(net, 0.5, "random")
    assert refused == {}
    queries, keys, values = positions(found.plan.kept["transformer.h.0.attn.c_attn.weight"][1], 3)
    assert queries == keys
    assert len({tuple(head) for head in (*queries, *values)}) > HEADS
