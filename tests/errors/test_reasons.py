"""What stays whole is told with the operator, the layer, and the line of the user's code that called it."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import NodeProto, StringStringEntryProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

import coppice
from coppice.formats.onnx.origin import origin


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.linalg.pinv(x)
        return result


class Net(nn.Module):
    def __init__(self, *, within: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)
        self.inner = Inner() if within else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y = torch.linalg.pinv(y) if self.inner is None else self.inner(y)
        result: Tensor = self.b(y.transpose(-1, -2))
        return result


class Ranked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        ranked = torch.topk(self.a(x), 8, dim=1)[0]
        result: Tensor = self.b(ranked)
        return result


@pytest.mark.parametrize(("within", "layer", "function"), [(False, "the model", "forward"), (True, "inner", "forward")])
def test_an_operator_of_pytorch_is_named_once_with_layer_and_line(within: bool, layer: str, function: str) -> None:
    found = coppice.inspect(Net(within=within), example_inputs=(torch.randn(5, 6),))
    reason = next(entry.reason for entry in found.frozen if "a" in entry.layers)
    assert reason.startswith(f"no rule for this operator (aten::linalg_pinv at {layer} (test_reasons.py, line ")
    assert f", in {function}: " in reason
    assert reason.count("linalg_pinv") == 1
    assert "torch.linalg.pinv(" in reason


@pytest.mark.slow  # torch.export takes seconds to load
def test_an_exported_node_is_named_with_the_line_of_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it will leave out one day
        torch.onnx.export(
            Ranked().eval(), (torch.randn(2, 6),), tmp_path / "m.onnx", dynamo=True, external_data=False, verbose=False
        )
    reasons = [entry.reason for entry in coppice.inspect(tmp_path / "m.onnx").frozen]
    told = next(reason for reason in reasons if "TopK at node " in reason)
    assert "opset " in told
    assert "test_reasons.py, line " in told
    assert "in forward: ranked = torch.topk(self.a(x), 8, dim=1)[0]" in told
    assert str(Path(__file__).parent) not in told


def test_a_node_without_a_row_is_named_with_its_domain_and_opset(tmp_path: Path) -> None:
    weights = {"w": torch.randn(6, 8), "v": torch.randn(8, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
        helper.make_node("Inverse", ["h"], ["i"], name="odd", domain="com.microsoft"),
        helper.make_node("MatMul", ["i", "v"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 4])],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    reasons = [entry.reason for entry in coppice.inspect(tmp_path / "m.onnx").frozen]
    assert "node 'odd' is a com.microsoft.Inverse, which has no rule (opset 1)" in reasons


def test_the_line_of_the_user_is_the_innermost_outside_of_torch() -> None:
    stack = (
        'File "/home/me/net.py", line 8, in forward\n    y = self.a(x)\n'
        '  File "/home/me/block.py", line 3, in forward\n    return self.conv(x)\n'
        '  File "/usr/lib/python3/site-packages/torch/nn/modules/conv.py", line 565, in forward\n    return F.conv2d(x)'
    )
    node = NodeProto(metadata_props=[StringStringEntryProto(key="pkg.torch.onnx.stack_trace", value=stack)])
    assert origin(node, 20) == "opset 20, block.py, line 3, in forward: return self.conv(x)"


def test_what_a_file_says_of_its_origin_is_kept_short_and_printable() -> None:
    stack = f'File "/x/n.py", line 1, in f\n    \x1b[2J{"a" * 100_000}'
    node = NodeProto(metadata_props=[StringStringEntryProto(key="pkg.torch.onnx.stack_trace", value=stack)])
    told = origin(node, 20)
    assert len(told) < 200
    assert told.isprintable()
    assert origin(NodeProto(doc_string="no stack at all (3)"), 7) == "opset 7"
