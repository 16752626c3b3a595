"""The interpreter against the standard's own cases: models, inputs and outputs that come with the onnx package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.backend.test.case.node import collect_testcases

from coppice.errors import CoppiceError
from coppice.formats.onnx.file import examined
from coppice.formats.onnx.network import build_network, graph_of
from coppice.onnx_operators import OPERATORS

#: Arithmetic on types that torch has no kernels for, and that no network computes with.
EXOTIC = frozenset({"uint16", "uint32", "uint64", "bfloat16", "object", "None", "float16"})
#: Cases that differ by intent: ONNX Runtime's word is taken, or what is asked can't be (ties, fully masked rows).
ELSEWHERE = frozenset(
    {
        "test_attention_23_boolmask_fullymasked_row_nan_robustness",
        # With a cache, which only ONNX Runtime computes here.
        "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
        "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
        "test_attention_causal_boolmask_nan_robustness",
        "test_reduce_max_empty_set",
        "test_reduce_max_empty_set_bool",
        "test_reduce_min_empty_set",
        # The runtime rounds the resized length before it aligns the corners.
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
        "test_top_k_same_values",
        "test_top_k_same_values_2d",
        "test_top_k_same_values_largest",
    }
)


def cases() -> Iterator[Any]:
    for case in collect_testcases(None):
        if case.model is None or case.data_sets is None:
            continue
        operators = {node.op_type for node in case.model.graph.node}
        types = {str(getattr(one, "dtype", None)) for data in case.data_sets for one in (*data[0], *data[1])}
        known = operators <= OPERATORS.keys() | {"Constant"}
        if known and case.name not in ELSEWHERE and not types & EXOTIC:
            yield case


def computed(model: onnx.ModelProto, inputs: list[Any]) -> list[torch.Tensor]:
    graph = graph_of(examined(model, "case"))
    given = dict(zip((entry.name for entry in model.graph.input), inputs, strict=False))
    found = build_network(model, graph)(*(torch.from_numpy(np.array(given[entry.name])) for entry in graph.inputs))
    return found if isinstance(found, list) else [found]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the package that makes the cases: overflows on purpose
def test_every_case_of_the_standard_is_computed_or_refused_by_name() -> None:
    wrong, equal, refused = [], 0, 0
    for case in cases():
        for inputs, outputs in case.data_sets:
            try:
                found = computed(case.model, inputs)
            except CoppiceError:
                refused += 1
                continue
            except RuntimeError as e:
                if not str(e).startswith("ONNX Runtime says"):
                    raise
                refused += 1  # its own version of the case fails
                continue
            for got, want in zip(found, outputs, strict=False):
                if got.shape == want.shape and np.allclose(got.detach(), want, rtol=1e-3, atol=1e-5, equal_nan=True):
                    equal += 1
                else:
                    wrong.append(case.name)
    assert wrong == []
    assert equal > 800
    assert refused < equal / 10
