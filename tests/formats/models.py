"""Class files as users write them, and uploads made of them in the layout of a job's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request

#: The class file of the documents, letter for letter.
NET = """\
import torch
import torch.nn as nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = F.relu(x)
        x = self.dropout2(x)
        x = self.fc2(x)
        output = F.log_softmax(x, dim=1)
        return output
"""

#: Batch norm with its counters, frozen first layer, numbers of the user's own kept in attributes.
FROZEN = """\
from torch import nn

class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.width = 12
        self.stem = nn.Conv2d(1, self.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(self.width)
        self.body = nn.Sequential(nn.Conv2d(12, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, 4)
        for parameter in self.stem.parameters():
            parameter.requires_grad = False
        self.norm.eval()

    def forward(self, x):
        x = self.body(self.norm(self.stem(x)).relu())
        return self.head(x.mean((2, 3)))
"""

#: The shortcut of a well-known ResNet for CIFAR: a lambda in a module, which pickle refuses.
LAMBDA = """\
import torch.nn as nn
import torch.nn.functional as F

class LambdaLayer(nn.Module):
    def __init__(self, lambd):
        super().__init__()
        self.lambd = lambd

    def forward(self, x):
        return self.lambd(x)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.shortcut = LambdaLayer(lambda x: x * 2)

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.conv2(F.relu(self.conv1(x))))

class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.block = Block()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))
"""

#: A class that takes arguments, and the function without any that people name instead.
FACTORY = """\
import torch
from torch import nn

class VGG(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        layers, before = [], 1
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            before = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, classes)

    def forward(self, x):
        return self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(x), 1), 1))

def tiny_vgg():
    return VGG((8, 12, 16), 5)

if __name__ == "__main__":
    print(tiny_vgg())
"""

#: A mask that the state dict leaves out and whose positions differ from one another.
HIDDEN_BUFFER = """\
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.register_buffer("scale", torch.arange(1.0, 9.0).reshape(8, 1, 1), persistent=False)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(self.conv(x) * self.scale).mean((2, 3))
"""

#: The same, kept in a plain attribute; and what the last run computed, in another.
PLAIN_TENSOR = (
    HIDDEN_BUFFER.replace('self.register_buffer("scale", ', "self.scale = (")
    .replace(", persistent=False)", ")")
    .replace(
        "return self.head(self.conv(x) * self.scale)",
        "self.seen = self.conv(x) * self.scale; return self.head(self.seen)",
    )
)

#: An output that is not one row for each sample, and an option that is no input.
REGULARIZED = HIDDEN_BUFFER.replace("forward(self, x)", "forward(self, x, *, weight=1.0)").replace(
    "return self.head(self.conv(x) * self.scale).mean((2, 3))",
    "y = self.head(self.conv(x) * self.scale).mean((2, 3)); return y, weight * y.square().mean()",
)

#: A module that computes its own weight, before every run.
NORMED = """\
import warnings

from torch import nn

class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.conv = nn.utils.weight_norm(nn.Conv1d(2, 8, 3))
        self.head = nn.utils.spectral_norm(nn.Linear(8, 3))

    def forward(self, x):
        return self.head(self.conv(x).relu().mean(2))
"""

DOUBLE = """\
from torch import nn

class Double(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))
        self.double()

    def forward(self, x):
        return {"scores": self.layers(x)}
"""

DEPTHWISE = """\
from torch import nn

class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 24, 1)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.project = nn.Conv2d(24, 10, 1)

    def forward(self, x):
        return self.project(self.depthwise(self.expand(x).relu()).relu()).mean((2, 3))
"""

#: Two layers that share one tensor.
TIED = """\
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(6, 16)
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.out = nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.second(self.first(self.into(x).relu()).relu()).relu())
"""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One class file, the name to build, and one sample's shape."""

    source: str
    name: str
    input_size: tuple[int, ...]
    file: str = "model.py"
    omit: tuple[str, ...] = field(default=())


MODELS = {
    "document": Model(source=NET, name="Net", input_size=(1, 28, 28), omit=("fc1", "fc2")),
    "frozen": Model(source=FROZEN, name="Frozen", input_size=(1, 8, 8), file="frozen.py"),
    "lambda": Model(source=LAMBDA, name="ResNet", input_size=(1, 8, 8), file="resnet.py"),
    "factory": Model(source=FACTORY, name="tiny_vgg", input_size=(1, 16, 16), file="vgg.py"),
    "hidden buffer": Model(source=HIDDEN_BUFFER, name="Scaled", input_size=(1, 8, 8), file="scaled.py"),
    "plain tensor": Model(source=PLAIN_TENSOR, name="Scaled", input_size=(1, 8, 8), file="scaled.py"),
    "normed": Model(source=NORMED, name="Normed", input_size=(2, 9), file="normed.py"),
    "double": Model(source=DOUBLE, name="Double", input_size=(6,), file="double.py"),
    "depthwise": Model(source=DEPTHWISE, name="Depthwise", input_size=(3, 8, 8), file="my-depthwise.py"),
    "tied": Model(source=TIED, name="Tied", input_size=(6,), file="tied.v2.py"),
}


def built(source: str, name: str, *, module: str = "model") -> nn.Module:
    """What the user has: the model made by their own code, and no two channels of any tensor alike."""
    namespace = ModuleType(module)
    exec(source, vars(namespace))
    torch.manual_seed(7)
    model: nn.Module = vars(namespace)[name]()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.unique().numel() == 1:  # a batch norm as it begins
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return model


def upload(
    folder: Path, model: Model, *, weights: Any = None, dataset: Any = None, percent: float = 0.5, **changes: Any
) -> tuple[Request, dict[Part, Path]]:
    """Lay out a job's folder. `weights` and `dataset` are bytes or what torch.save takes."""
    if weights is None:
        weights = built(model.source, model.name).state_dict()
    parts = {Part.WEIGHTS: ("weights.pth", weights), Part.CLASS_DEF: (model.file, model.source.encode())}
    if dataset is not None:
        parts[Part.DATASET] = ("train_loader.pth", dataset)
    files = {}
    for part, (name, content) in parts.items():
        files[part] = folder / "in" / part / name
        files[part].parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            files[part].write_bytes(content)
        else:
            torch.save(content, files[part])
    asked: dict[str, Any] = {
        "framework": Framework.PYTORCH,
        "percent": percent,
        "omit": model.omit,
        "input_size": model.input_size,
        "model_name": model.name,
        "files": {part: path.name for part, path in files.items()},
    }
    request = Request.model_validate(asked | changes)
    (folder / "request.json").write_text(request.model_dump_json())
    return request, files


#: A model that looks words up, so that its input is whole numbers.
WORDS = """
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(50, 8), nn.Linear(8, 2)

    def forward(self, words):
        return self.out(self.table(words).mean(1))
"""
