"""ONNX files that are broken, lie about their sizes, reach for other files, or hold what can't be followed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.hostile.case import Case, End
from tests.onnx.builders import between, graph, weights
from tests.serving import Files

pytestmark = pytest.mark.slow

node = helper.make_node


def good() -> onnx.ModelProto:
    return between(node("Relu", ["a"], ["z"]), opset=17)


def model(made: Callable[[], onnx.ModelProto | bytes], name: str = "small.onnx") -> Callable[[], Files]:
    def files() -> Files:
        content = made()
        return {"model": (name, content if isinstance(content, bytes) else content.SerializeToString())}

    return files


def truncated() -> bytes:
    content: bytes = good().SerializeToString()
    return content[: len(content) // 2]


def ten_gibibytes() -> onnx.ModelProto:
    changed = good()
    changed.graph.initializer[0].dims[:] = [1 << 16, 1 << 16, 1, 1]
    return changed


def ten_gibibytes_of_output() -> onnx.ModelProto:
    changed = between(node("Expand", ["a", "sizes"], ["z"]), opset=17, constants={"sizes": weights(4)})
    sizes = changed.graph.initializer[-1]
    sizes.CopyFrom(helper.make_tensor("sizes", TensorProto.INT64, [4], [1 << 15, 8, 1 << 9, 1 << 9]))
    for place in (0, 2, 3):
        changed.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 1
    return changed


def outside(location: str) -> onnx.ModelProto:
    changed = good()
    tensor = changed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return changed


def zipped(content: onnx.ModelProto, *others: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("small.onnx", content.SerializeToString())
        for name in others:
            made.writestr(name, b"1234")
    return buffer.getvalue()


def looping() -> onnx.ModelProto:
    body = helper.make_graph([node("Identity", ["in"], ["out"])], "body", [], [])
    return between(node("Loop", ["", "", "a"], ["z"], name="again", body=body), opset=17)


def endless() -> onnx.ModelProto:
    """A Loop of a long lifetime, which only the runtime computes."""
    kinds = {"i": TensorProto.INT64, "on": TensorProto.BOOL}
    given = [helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()]
    state = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("in", "out")]
    inner = [node("Identity", ["on"], ["go"]), node("Sin", ["in"], ["out"])]
    go = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(inner, "body", [*given, state[0]], [go, state[1]])
    return between(
        node("Loop", ["rounds", "yes", "a"], ["z"], name="again", body=body),
        opset=17,
        constants={"rounds": np.array(2**62), "yes": np.array(True)},
    )


def custom() -> onnx.ModelProto:
    return between(node("Magic", ["a"], ["z"], name="mine", domain="com.example"), opset=17)


def multiplying() -> onnx.ModelProto:
    """Thirty functions that call each the one before twice: a thousand million nodes."""
    changed = between(node("f30", ["a"], ["z"], domain="mine"), opset=17)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    for level in range(31):
        inner = "Relu" if level == 0 else f"f{level - 1}"
        domain = "" if level == 0 else "mine"
        calls = [node(inner, ["x"], ["t"], domain=domain), node(inner, ["t"], ["y"], domain=domain)]
        changed.functions.append(helper.make_function("mine", f"f{level}", ["x"], ["y"], calls, versions))
    return changed


def from_the_future() -> onnx.ModelProto:
    changed = good()
    changed.opset_import[0].version = 999
    return changed


def nonsense() -> onnx.ModelProto:
    return between(node("Reshape", ["a", "sizes"], ["z"], name="bend"), opset=17, constants={"sizes": weights(4)})


def text() -> onnx.ModelProto:
    changed = good()
    changed.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return changed


def without_nodes() -> onnx.ModelProto:
    return graph([], {}, inputs={"x": [1, 3]}, outputs={"x": [1, 3]})


def case(code: str, *says: str, files: Callable[[], Files]) -> Case:
    return Case(code=code, says=says, files=files, call="onnx_prune", query={"percent": "0.5"})


CASES = {
    "half of a file": case("truncated_file", "small.onnx", "damaged or truncated", files=model(truncated)),
    "no ONNX at all": case("unknown_format", "of an unknown kind", files=model(lambda: b"once upon a time")),
    "a Keras file": case("unknown_format", "tf_prune", files=model(lambda: b"\x89HDF\r\n\x1a\n" + bytes(99))),
    "sizes that are lies": case("hostile_file", "'w1'", "declares 4,294,967,296", files=model(ten_gibibytes)),
    "an output of many gibibytes": case("out_of_memory", "memory", files=model(ten_gibibytes_of_output)),
    "weights in a file that wasn't sent": case(
        "external_data_missing",
        "small.onnx.data",
        "external_data=False",
        files=model(lambda: outside("small.onnx.data")),
    ),
    "weights in a file of the host": case(
        "external_data_missing", "wasn't sent", files=model(lambda: outside("../../passwd"))
    ),
    "a zip whose weights climb out": case(
        "hostile_file", "outside", files=model(lambda: zipped(outside("../../../etc/passwd")), "small.zip")
    ),
    "a zip without its weights": case(
        "truncated_file", "no weights.bin", files=model(lambda: zipped(outside("weights.bin")), "small.zip")
    ),
    "a zip with too few of them": case(
        "truncated_file", "ends before", files=model(lambda: zipped(outside("w"), "w"), "small.zip")
    ),
    "two models in a zip": case("model_invalid", "has 2", files=model(lambda: zipped(good(), "b.onnx"), "small.zip")),
    "a loop that takes what nobody gives": case("model_invalid", "'in' of node", files=model(looping)),
    "a loop that doesn't end": case("time_limit", "of CPU time", files=model(endless)),
    "an operator of somebody's own": case("unsupported_layer", "'mine' is a Magic of the domain", files=model(custom)),
    "functions that multiply": case("hostile_file", "grow to more than 100,000 nodes", files=model(multiplying)),
    "an operator set of the future": case(
        "version_unsupported", "opset 999", "Export with", files=model(from_the_future)
    ),
    "sizes that are fractions": case("model_invalid", "'bend' (Reshape)", files=model(nonsense)),
    "text as input": case("unsupported_layer", "'x'", files=model(text)),
    "a graph of nothing": case("nothing_to_prune", "No channel", files=model(without_nodes)),
    "another suffix": Case(
        code="unsupported_media_type",
        says=(".onnx or .zip",),
        http=415,
        call="onnx_prune",
        query={"percent": "0.5"},
        files=lambda: {"model": ("small.bin", b"x")},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_onnx_file_fails_with_its_own_reason(case: Case, refused: End) -> None:
    assert refused.message
