"""The forms that operators have had: every version of the standard from 9 on, and what exporters make of shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from coppice.errors import InputSizeInvalid, UnsupportedLayer
from coppice.records.report import Check
from tests.onnx.builders import Array, between, graph, initializers, numbers, pruned, run, weights, with_zeros

node = helper.make_node
X = weights(2, 3, 8, 8, seed=1)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


def constant(name: str, value: Array) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(value))


def branch(operator: str, inputs: list[str]) -> onnx.GraphProto:
    made = helper.make_tensor_value_info(f"{operator}_made", TensorProto.FLOAT, None)
    return helper.make_graph([node(operator, inputs, [made.name])], operator, [], [made])


#: What stands between two convolutions, by name: opset, nodes from `a` to `z`, constants.
FORMS: dict[str, tuple[int, list[onnx.NodeProto], dict[str, Array]]] = {
    "clip by attributes": (9, [node("Clip", ["a"], ["z"], min=0.0, max=1.0)], {}),
    "clip by inputs": (
        13,
        [node("Clip", ["a", "low", "high"], ["z"])],
        {"low": scalar(0), "high": scalar(1)},
    ),
    "slope of each channel": (9, [node("PRelu", ["a", "slope"], ["z"])], {"slope": weights(8, 1, 1)}),
    "norm": (
        9,
        [node("BatchNormalization", ["a", "s", "t", "m", "v"], ["z"], epsilon=1e-3)],
        {"s": weights(8, seed=2), "t": weights(8, seed=3), "m": weights(8, seed=4), "v": abs(weights(8, seed=5))},
    ),
    "depthwise": (11, [node("Conv", ["a", "d"], ["z"], group=8)], {"d": weights(8, 1, 3, 3)}),
    "pool by the same padding": (
        10,
        [node("MaxPool", ["a"], ["z"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")],
        {},
    ),
    "mean with a ceiling": (
        10,
        [node("AveragePool", ["a"], ["z"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[0, 0, 1, 1])],
        {},
    ),
    "upsampled by constants": (
        9,
        [node("Upsample", ["a", "scales"], ["z"], mode="nearest")],
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    ),
    "resized to sizes that state the channels": (
        13,
        [node("Resize", ["a", "", "", "sizes"], ["z"], mode="linear")],
        {"sizes": numbers(2, 8, 16, 16)},
    ),
    "padded by attributes": (9, [node("Pad", ["a"], ["z"], pads=[0, 0, 1, 1, 0, 0, 1, 1])], {}),
    "padded by inputs": (18, [node("Pad", ["a", "p", "", "axes"], ["z"])], {"p": numbers(1, 2), "axes": numbers(3)}),
    "squeezed by attributes": (
        11,
        [node("Unsqueeze", ["a"], ["b"], axes=[2]), node("Squeeze", ["b"], ["z"], axes=[2])],
        {},
    ),
    "squeezed by inputs": (
        13,
        [node("Unsqueeze", ["a", "axis"], ["b"]), node("Squeeze", ["b", "axis"], ["z"])],
        {"axis": numbers(2)},
    ),
    "mean over axes by attribute": (9, [node("ReduceMean", ["a"], ["z"], axes=[2, 3])], {}),
    "mean over axes by input": (18, [node("ReduceMean", ["a", "axes"], ["z"])], {"axes": numbers(2, 3)}),
    "split by attribute, and joined": (
        11,
        [node("Split", ["a"], ["b", "c"], axis=3, split=[2, 6]), node("Concat", ["c", "b"], ["z"], axis=3)],
        {},
    ),
    "split by input, and joined": (
        13,
        [node("Split", ["a", "sizes"], ["b", "c"], axis=3), node("Concat", ["c", "b"], ["z"], axis=3)],
        {"sizes": numbers(2, 6)},
    ),
    "sliced by attributes": (9, [node("Slice", ["a"], ["z"], axes=[2, 3], starts=[1, 0], ends=[1000, -1])], {}),
    "sliced backwards": (
        10,
        [node("Slice", ["a", "s", "e", "axes", "steps"], ["z"])],
        {"s": numbers(-1), "e": numbers(-(2**62)), "axes": numbers(3), "steps": numbers(-1)},
    ),
    "gelu as one operator": (20, [node("Gelu", ["a"], ["z"], approximate="tanh")], {}),
    "gelu in parts": (
        13,
        [
            constant("root", scalar(1.4142135)),
            node("Div", ["a", "root"], ["b"]),
            node("Erf", ["b"], ["c"]),
            node("Add", ["c", "one"], ["d"]),
            node("Mul", ["a", "d"], ["z"]),
        ],
        {"one": scalar(1)},
    ),
    "reshaped by its own shape": (
        15,
        [
            node("Shape", ["a"], ["batch"], end=1),
            node("Shape", ["a"], ["channels"], start=1, end=2),
            node("Concat", ["batch", "channels", "rest"], ["flat"], axis=0),
            node("Reshape", ["a", "flat"], ["b"]),
            node("Shape", ["a"], ["whole"]),
            node("Reshape", ["b", "whole"], ["z"]),
        ],
        {"rest": numbers(-1)},
    ),
    "reshaped to stated sizes": (
        13,
        [
            node("Reshape", ["a", "flat"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("Reshape", ["c", "square"], ["z"]),
        ],
        {"flat": numbers(0, 8, 64), "square": numbers(-1, 8, 8, 8)},
    ),
    "through channels last": (
        13,
        [
            node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1]),
            node("Mul", ["b", "scale"], ["c"]),
            node("Transpose", ["c"], ["z"], perm=[0, 3, 1, 2]),
        ],
        {"scale": weights(8)},
    ),
    "a squeeze by an If that sizes decide": (
        13,
        [
            node("Shape", ["a"], ["shape"]),
            node("Gather", ["shape", "place"], ["height"]),
            node("Equal", ["height", "eight"], ["fits"]),
            node("If", ["fits"], ["z"], then_branch=branch("Relu", ["a"]), else_branch=branch("Sigmoid", ["a"])),
        ],
        {"place": numbers(2).reshape(()), "eight": numbers(8).reshape(())},
    ),
    "a slope inside a branch": (
        16,
        [node("If", ["always"], ["z"], then_branch=branch("PRelu", ["a", "slope"]), else_branch=branch("Relu", ["a"]))],
        {"always": np.array(True), "slope": weights(8, 1, 1)},
    ),
    "a sequence of pieces": (
        13,
        [
            node("SplitToSequence", ["a", "four"], ["pieces"], axis=1),
            node("SequenceAt", ["pieces", "one"], ["second"]),
            node("SequenceAt", ["pieces", "zero"], ["first"]),
            node("SequenceConstruct", ["first", "second"], ["again"]),
            node("ConcatFromSequence", ["again"], ["z"], axis=1),
        ],
        {"four": numbers(4).reshape(()), "one": numbers(1).reshape(()), "zero": numbers(0).reshape(())},
    ),
    "a convolution that the runtime's optimizer fused": (
        13,
        [
            node(
                "FusedConv",
                ["a", "d", "", "a"],
                ["z"],
                domain="com.microsoft",
                group=8,
                activation="Relu",
                pads=[1] * 4,
            )
        ],
        {"d": weights(8, 1, 3, 3)},
    ),
    "quantized and back, by weights of eight bits": (
        13,
        [
            node("QuantizeLinear", ["a", "step", "none"], ["q"]),
            node("DequantizeLinear", ["q", "step", "none"], ["b"]),
            node("DequantizeLinear", ["whole", "steps", "nones"], ["d"], axis=0),
            node("Conv", ["b", "d"], ["z"], group=8),
        ],
        {
            "step": scalar(0.05),
            "none": np.array(0, np.uint8),  # and so no value below zero
            "whole": (40 * weights(8, 1, 3, 3)).astype(np.int8),
            "steps": abs(weights(8)) / 40,
            "nones": np.zeros(8, np.int8),
        },
    ),
    "strided, as torch.export writes it": (
        18,
        [node("Reshape", ["a", "flat"], ["b"]), node("Gather", ["b", "places"], ["z"])],
        {"flat": numbers(-1), "places": np.arange(1024).reshape(2, 8, 8, 8)},
    ),
    "the newest that the runtime takes": (24, [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["z"])], {}),
}


@pytest.mark.parametrize("form", [pytest.param(FORMS[name], id=name) for name in FORMS])
def test_a_form_is_cut_and_equals_the_original_without_its_lost_filters(
    form: tuple[int, list[onnx.NodeProto], dict[str, Array]], tmp_path: Path
) -> None:
    opset, middle, constants = form
    model = between(*middle, opset=opset, constants=constants)
    cut = pruned(model, tmp_path)

    assert cut.verification.check is Check.EXACT
    assert initializers(cut.model)["w1"].shape == (4, 3, 3, 3)
    assert initializers(cut.model)["w2"].shape == (4, 4, 1, 1)
    # All that belongs to a channel goes with its filter: else a norm would shift the zeros.
    names = ["w1", "b1", *(name for name, array in constants.items() if array.ndim and array.shape[0] == 8)]
    expected = run(with_zeros(model, cut.model, *names), x=X)[0]
    np.testing.assert_allclose(run(cut.model, x=X)[0], expected, rtol=0, atol=1e-4 * abs(expected).max())


def test_names_metadata_opset_and_what_is_not_cut_stay_as_they_were(tmp_path: Path) -> None:
    model = between(node("Relu", ["a"], ["z"], name="act", doc_string="mine"), opset=12)
    cut = pruned(model, tmp_path)

    assert [entry.name for entry in cut.model.graph.node] == ["first", "act", "last"]
    assert cut.model.graph.node[1].doc_string == "mine"
    assert (cut.model.opset_import, cut.model.ir_version, cut.model.metadata_props) == (
        model.opset_import,
        model.ir_version,
        model.metadata_props,
    )
    assert (cut.model.graph.input, cut.model.graph.output) == (model.graph.input, model.graph.output)


def test_initializers_that_are_listed_as_inputs_are_declared_with_their_new_shapes(tmp_path: Path) -> None:
    model = between(node("Relu", ["a"], ["z"]), opset=9)
    for name, array in initializers(model).items():
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    cut = pruned(model, tmp_path)

    declared = {
        entry.name: [one.dim_value for one in entry.type.tensor_type.shape.dim] for entry in cut.model.graph.input
    }
    assert declared["w1"] == [4, 3, 3, 3]
    assert declared["b1"] == [4]
    onnx.checker.check_model(cut.model, full_check=True)


def test_nodes_may_come_in_any_order_as_for_onnx_runtime(tmp_path: Path) -> None:
    model = between(node("Relu", ["a"], ["z"]), opset=13)
    (tmp_path / "sorted").mkdir()
    expected = pruned(model, tmp_path / "sorted").model
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    cut = pruned(model, tmp_path).model

    onnx.checker.check_model(cut, full_check=True)
    assert [one.op_type for one in cut.graph.node] == [one.op_type for one in expected.graph.node]
    for name, array in initializers(expected).items():
        np.testing.assert_array_equal(initializers(cut)[name], array)


def test_a_vector_that_two_layers_share_by_its_value_does_not_tie_them(tmp_path: Path) -> None:
    # As exporters store the zeros of fresh biases: once.
    model = graph(
        [
            node("Conv", ["x", "w1", "zeros"], ["a"]),
            node("Conv", ["a", "w2", "zeros"], ["b"]),
            node("Conv", ["b", "w3"], ["y"]),
        ],
        {"w1": weights(8, 3, 1, 1), "w2": weights(8, 8, 1, 1), "w3": weights(4, 8, 1, 1), "zeros": np.zeros(8, "f4")},
        inputs={"x": [1, 3, 8, 8]},
        outputs={"y": [1, 4, 8, 8]},
    )
    cut = pruned(model, tmp_path)

    assert len(cut.groups) == 2
    after = initializers(cut.model)
    assert after["w2"].shape == (4, 4, 1, 1)
    assert after["zeros"].shape == (4,)


def test_a_depthwise_convolution_states_its_new_number_of_groups(tmp_path: Path) -> None:
    cut = pruned(
        between(node("Conv", ["a", "d"], ["z"], name="depth", group=8), opset=13, constants={"d": weights(8, 1, 3, 3)}),
        tmp_path,
    )
    (depthwise,) = [entry for entry in cut.model.graph.node if entry.name == "depth"]
    assert {entry.name: entry.i for entry in depthwise.attribute}["group"] == 4


def test_half_precision_comes_back_as_half(tmp_path: Path) -> None:
    model = between(node("Relu", ["a"], ["z"]), opset=13)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.elem_type = TensorProto.FLOAT16
    cut = pruned(model, tmp_path)

    assert initializers(cut.model)["w1"].dtype == np.float16
    assert initializers(cut.model)["w1"].shape == (4, 3, 3, 3)


def test_a_shape_that_the_graph_leaves_open_is_taken_from_input_size(tmp_path: Path) -> None:
    model = between(node("Relu", ["a"], ["z"]), opset=13)
    for place in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = f"free{place}"
    cut = pruned(model, tmp_path, input_size=({"shape": (3, 12, 20)},))
    assert cut.verification.check is Check.EXACT

    with pytest.raises(InputSizeInvalid, match="declares as"):
        pruned(model, tmp_path, input_size=({"shape": (4, 12, 20)},))


def test_an_operator_without_a_row_is_computed_by_the_reference_and_its_channels_stay(tmp_path: Path) -> None:
    cut = pruned(
        between(
            node("Conv", ["a", "w3"], ["b"], name="middle"),
            node("LpNormalization", ["b"], ["c"], axis=1),
            node("Col2Im", ["cols", "image", "block"], ["unused"]),
            node("Add", ["c", "unused"], ["z"]),
            opset=18,
            constants={
                "w3": weights(8, 8, 1, 1),
                "cols": weights(1, 8, 64),
                "image": numbers(8, 8),
                "block": numbers(1, 1),
            },
        ),
        tmp_path,
    )
    assert initializers(cut.model)["w1"].shape == (4, 3, 3, 3)
    assert initializers(cut.model)["w3"].shape == (8, 4, 1, 1)
    assert any("Col2Im" in entry.reason or "combined with a fixed" in entry.reason for entry in cut.frozen)


def test_a_linear_layer_in_two_nodes_has_the_name_of_its_bias(tmp_path: Path) -> None:
    model = graph(
        [
            node("MatMul", ["x", "val_1"], ["a"], name="node_MatMul_1"),
            node("Add", ["a", "encoder.wide.bias"], ["b"], name="node_linear"),
            node("MatMul", ["b", "val_2"], ["y"], name="node_MatMul_2"),
        ],
        {"val_1": weights(6, 8), "encoder.wide.bias": weights(8), "val_2": weights(8, 3)},
        inputs={"x": ["batch", 6]},
        outputs={"y": ["batch", 3]},
    )
    assert pruned(model, tmp_path).groups[0].name == "encoder.wide"
    assert pruned(model, tmp_path, omit=("node_MatMul_1",), percent=0).groups[0].reason == "omitted by the request"


@pytest.mark.parametrize(
    ("operator", "domain", "why"),
    [("RandomNormalLike", "", "differs from run to run"), ("Sorted", "acme", "ONNX Runtime can't run")],
)
def test_what_can_t_be_compared_or_computed_is_refused_by_name(
    operator: str, domain: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedLayer, match=f"'odd' is a {operator} of the domain .*{why}"):
        pruned(between(node(operator, ["a"], ["z"], name="odd", domain=domain), opset=13), tmp_path)
