"""One model of every kind, pruned: `python -m tests.formats.every_kind SENT FOLDER` prints the hash of every artifact.

The tests run it in processes of their own, whose texts hash differently, as they do in a job.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coppice import pipeline
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from tests import keras_h5
from tests.keras import builders
from tests.onnx import builders as onnx_builders

FIXTURES = Path(__file__).parent.parent / "saved_model" / "fixtures"
#: Four names in one set, and something to be repaired.
SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 4, 3)
        for name in ("alpha", "beta", "gamma", "delta"):
            self.register_buffer(name, torch.ones(1), persistent=False)

    def forward(self, x):
        return self.b(self.norm(self.a(x)).relu()).mean((2, 3)) * self.alpha
"""
Files = dict[Part, Path]


def _torch(folder: Path) -> Files:
    torch.manual_seed(0)
    names: dict[str, type[nn.Module]] = {}
    exec(SOURCE, names)  # the class, to save its state dict
    files = {Part.WEIGHTS: "net.pth", Part.CLASS_DEF: "model.py", Part.DATASET: "loader.pth"}
    torch.save(names["Net"]().state_dict(), folder / files[Part.WEIGHTS])
    (folder / files[Part.CLASS_DEF]).write_text(SOURCE)
    samples = TensorDataset(torch.randn(40, 1, 8, 8), torch.randint(4, (40,)))
    torch.save(DataLoader(samples, batch_size=8), folder / files[Part.DATASET])
    return {part: folder / name for part, name in files.items()}


def _h5(folder: Path) -> Files:
    layers = [keras_h5.convolution("first", 1, 8), keras_h5.relu("relu"), keras_h5.convolution("second", 8, 4)]
    (folder / "model.h5").write_bytes(keras_h5.sequential(layers, (8, 8, 1)))
    return {Part.MODEL: folder / "model.h5"}


def _keras(folder: Path) -> Files:
    dense = {"activation": "relu", "use_bias": True}
    layers = [
        builders.input_layer([6], key="batch_shape"),
        builders.called_3(builders.layer("Dense", "first", units=8, **dense), "image", shape=(None, 6)),
        builders.called_3(builders.layer("Dense", "second", units=4, **dense), "first", shape=(None, 8)),
    ]
    arrays = {
        "dense": [builders.numbers(6, 8), builders.numbers(8)],
        "dense_1": [builders.numbers(8, 4), builders.numbers(4)],
    }
    config = builders.functional(layers, ["second", 0, 0], ["image", 0, 0])
    return {Part.MODEL: builders.write_keras(folder / "model.keras", config, arrays)}


def _saved_model(folder: Path) -> Files:
    return {Part.MODEL: FIXTURES / "tf212.zip"}


def _onnx(folder: Path) -> Files:
    model = onnx_builders.between(helper.make_node("Relu", ["a"], ["z"], name="relu"), opset=17)
    onnx.save_model(model, folder / "model.onnx")
    return {Part.MODEL: folder / "model.onnx"}


#: Kind -> its framework, and what makes its files.
KINDS: Mapping[str, tuple[Framework, Callable[[Path], Files]]] = {
    "torch": (Framework.PYTORCH, _torch),
    "h5": (Framework.KERAS, _h5),
    "keras": (Framework.KERAS, _keras),
    "saved_model": (Framework.KERAS, _saved_model),
    "onnx": (Framework.ONNX, _onnx),
}


def write_uploads(folder: Path) -> None:
    """What a user of each kind sends, in a folder each."""
    for kind, (_, write) in KINDS.items():
        (folder / kind).mkdir(parents=True)
        files = write(folder / kind)
        (folder / f"{kind}.json").write_text(json.dumps({part: str(path) for part, path in files.items()}))


def main(sent: Path, folder: Path) -> None:
    """Prune copies of what was sent, and print the hash of every artifact of every kind."""
    hashes = {}
    for kind, (framework, _) in KINDS.items():
        out = folder / kind
        out.mkdir(parents=True)
        files = {
            Part(part): Path(shutil.copy(path, folder / Path(path).name))
            for part, path in json.loads((sent / f"{kind}.json").read_text()).items()
        }
        request = Request(
            framework=framework,
            percent=0.5,
            model_name="Net" if framework is Framework.PYTORCH else None,
            files={part: path.name for part, path in files.items()},
        )
        report = pipeline.run(request, files, out, lambda _: None)
        hashes[kind] = {
            artifact.name: hashlib.sha256((out / artifact.file).read_bytes()).hexdigest()
            for artifact in report.artifacts
        }
    print(json.dumps(hashes))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
