"""Ways to meet errors in one's own Python: code -> what to call, with an empty folder to work in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import Tensor, nn

import coppice
from coppice.client.models import model_file
from coppice.formats import open_upload
from coppice.formats.packed.file import MARK
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.request import Part, Request
from tests.keras_h5 import dense, sequential
from tests.onnx.builders import between

SHAPE = (torch.zeros(2, 4),)


class Net(nn.Module):
    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.a, self.b, self.fails = nn.Linear(4, 8), nn.Linear(8, 4), fails

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError(self.fails)
        result: Tensor = self.b(self.a(x))
        return result


_SOURCE = (
    "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.a, self.b = torch.nn.Linear(4, 8), torch.nn.Linear(8, 4)\n"
    "    def forward(self, x):\n        return self.b(self.a(x))\n"
)


def _prune(model: Any = None, **told: Any) -> Any:
    return coppice.prune(Net() if model is None else model, **{"percent": 0.5, "example_inputs": SHAPE, **told})


def _torch(folder: Path, content: Any = None, source: str = _SOURCE) -> Any:
    (folder / "net.py").write_text(source)
    torch.save(Net().state_dict() if content is None else content, folder / "net.pth")
    request = Request(framework=Framework.PYTORCH, percent=0.5, model_name="Net", input_size=(Input(shape=(4,)),))
    return open_upload(request, {Part.WEIGHTS: folder / "net.pth", Part.CLASS_DEF: folder / "net.py"})


def _file(folder: Path, name: str, content: bytes) -> Any:
    (folder / name).write_bytes(content)
    return _opened(folder / name)


def _opened(path: Path) -> Any:
    framework = Framework.ONNX if path.suffix == ".onnx" else Framework.KERAS
    return open_upload(Request(framework=framework, percent=0.5), {Part.MODEL: path})


def _quantize(folder: Path, model: nn.Module, **told: Any) -> Any:
    return coppice.quantize(model, **{"example_inputs": SHAPE, "out": folder / "out", **told})


def _onnx(folder: Path, change: Callable[[onnx.ModelProto], object]) -> Any:
    model = between(helper.make_node("Relu", ["a"], ["z"]), opset=17)
    change(model)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return coppice.inspect(folder / "m.onnx")


def _outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.data")


def _random(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "RandomNormalLike"


def _weights_only(folder: Path) -> Any:
    with h5py.File(folder / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
    return _opened(folder / "w.h5")


def _keras(folder: Path, change: Callable[[h5py.File], object]) -> Any:
    path = folder / "m.h5"
    path.write_bytes(sequential([dense("first", 4, 8, "relu"), dense("second", 8, 2, "linear")], [4]))
    with h5py.File(path, "r+") as file:
        change(file)
    return _opened(path)


def _linked(file: h5py.File) -> None:
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")


def _nameless(file: h5py.File) -> None:
    file.attrs["model_config"] = str(file.attrs["model_config"]).replace('"class_name": "Dense"', '"class": "Dense"')


def _nan() -> Net:
    model = Net()
    nn.init.constant_(model.b.bias, float("nan"))
    return model


def _endless() -> Net:
    model = Net()
    nn.init.constant_(model.a.weight, float("inf"))
    return model


def _packed(folder: Path) -> Any:
    save_file({"a.weight": torch.zeros(8, 4)}, folder / "net.safetensors", metadata={MARK: "{}"})
    (folder / "net.py").write_text(_SOURCE)
    request = Request(framework=Framework.PYTORCH, percent=0.5, model_name="Net", input_size=(Input(shape=(4,)),))
    return open_upload(request, {Part.WEIGHTS: folder / "net.safetensors", Part.CLASS_DEF: folder / "net.py"})


IN_PYTHON: Mapping[str, Callable[[Path], object]] = {
    "already_quantized": _packed,
    "class_file_invalid": lambda at: _torch(at, source="class Net(:\n"),
    "constructor_failed": lambda at: _torch(at, source=_SOURCE.replace("(self):", "(self, width):")),
    "criterion_unsuitable": lambda _: _prune(criterion="batch_norm"),
    "dataset_invalid": lambda _: _prune(samples=np.zeros((3, 5), dtype=np.float32)),
    "empty_file": lambda at: _file(at, "m.h5", b""),
    "external_data_missing": lambda at: _onnx(at, _outside),
    "forward_failed": lambda _: _prune(Net("out of luck")),
    "hostile_file": lambda at: _keras(at, _linked),
    "input_size_invalid": lambda _: coppice.inspect(Net()),
    "model_invalid": lambda at: _keras(at, _nameless),
    "not_a_model": lambda at: model_file(object(), Framework.KERAS, at),
    "model_not_saved": lambda at: coppice.inspect(at / "gone.onnx"),
    "nothing_to_prune": lambda _: _prune(nn.Linear(4, 8)),
    "nothing_to_quantize": lambda at: _quantize(at, nn.BatchNorm1d(4), weights="int8", activations="float32"),
    "outputs_not_numbers": lambda _: _prune(_nan()),
    "parameter_invalid": lambda _: _prune(omit="a"),
    "parameter_missing": lambda at: _quantize(at, Net()),
    "percent_out_of_range": lambda _: _prune(percent=50),
    "pickled_module": lambda at: _torch(at, content=nn.Linear(2, 2)),
    "precision_impossible": lambda at: _quantize(at, Net(), precision="int4", format="tflite"),
    "samples_missing": lambda _: _prune(criterion="taylor"),
    "state_dict_mismatch": lambda at: _torch(at, content={"other.weight": torch.zeros(2, 2)}),
    "target_unreachable": lambda _: _prune(percent=0.99, target="params"),
    "truncated_file": lambda at: _file(
        at, "m.onnx", between(helper.make_node("Relu", ["a"], ["z"]), opset=17).SerializeToString()[:90]
    ),
    "unknown_criterion": lambda _: _prune(criterion="luck"),
    "unknown_format": lambda at: _file(at, "m.h5", b"what is this, of all things?"),
    "unknown_layer": lambda _: _prune(omit=["c"]),
    "unsupported_layer": lambda at: _onnx(at, _random),
    "version_unsupported": lambda at: _onnx(at, lambda model: setattr(model.opset_import[0], "version", 999)),
    "weights_not_finite": lambda at: _quantize(at, _endless(), weights="int8", activations="float32"),
    "weights_only": _weights_only,
}
