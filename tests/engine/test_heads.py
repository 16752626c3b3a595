"""Attention loses width of every head, or whole heads: the user's choice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import coppice
from coppice.errors import ParameterInvalid
from coppice.records.report import Check
from tests.engine.attention import ByDivision, ByHeadWidth, GroupedQueries, Stream
from tests.engine.models import network

HEADS, WIDTH = 4, 8


def heads_of(kept: tuple[int, ...], blocks: int) -> list[list[int]]:
    """Per block (queries, keys, values) of a projection: which heads have any position left; each must have all."""
    left = torch.zeros(blocks * HEADS * WIDTH, dtype=torch.bool)
    left[list(kept)] = True
    by_head = left.view(blocks, HEADS, WIDTH)
    assert torch.equal(by_head.any(-1), by_head.all(-1))
    return [block.any(-1).nonzero().flatten().tolist() for block in by_head]


def test_whole_heads_go_with_their_queries_keys_and_values() -> None:
    net = network(Stream(ByHeadWidth, 32, 64), (6, 12))
    result = coppice.prune(net.module, percent=0.5, example_inputs=net.inputs, heads="whole")

    for number in (0, 1):
        path = f"blocks.{number}"
        block: Any = result.model.get_submodule(path)
        assert (block.num_heads, block.head_dim) == (2, WIDTH)
        queries, keys, values = heads_of(result.plan.kept[f"{path}.qkv.weight"][0], 3)
        assert queries == keys == values == heads_of(result.plan.kept[f"{path}.proj.weight"][1], 1)[0]
        assert len(queries) == 2
    assert result.report.verification.check is Check.EXACT


def test_a_width_divided_by_heads_loses_heads_and_stream_alike() -> None:
    net = network(Stream(ByDivision, 32, 64), (6, 12))
    result = coppice.prune(net.module, percent=0.5, example_inputs=net.inputs, heads="whole")
    block: Any = result.model.get_submodule("blocks.0")
    assert (block.num_heads, block.dim, tuple(block.qkv.weight.shape)) == (2, 16, (48, 16))


def test_queries_that_share_keys_go_together() -> None:
    net = network(GroupedQueries(WIDTH), (6, 12))
    result = coppice.prune(net.module, percent=0.5, example_inputs=net.inputs, heads="whole")
    pruned: Any = result.model
    assert (pruned.heads, pruned.kv_heads, pruned.head_dim) == (2, 1, WIDTH)
    ((queries,),) = [heads_of(result.plan.kept["q.weight"][0], 1)]
    assert queries in ([0, 1], [2, 3])


def test_torch_attention_loses_heads() -> None:
    layer = nn.TransformerEncoderLayer(32, HEADS, 64, batch_first=True)
    model = nn.Sequential(nn.Linear(12, 32), nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(192, 5))
    net = network(model, (6, 12))
    result = coppice.prune(model, percent=0.5, example_inputs=net.inputs, heads="whole")
    attention: Any = result.model.get_submodule("1.layers.0.self_attn")
    assert (attention.num_heads, attention.embed_dim, attention.head_dim) == (2, 16, WIDTH)


def test_another_word_for_heads_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="none of width, whole"):
        coppice.prune(nn.Linear(4, 4), percent=0.5, example_inputs=torch.zeros(1, 4), heads="half")
