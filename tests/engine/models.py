"""Models for the engine's tests: what people write, and torchvision's with statistics that are not the defaults."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from coppice import rules
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.steps.allocate import Allocation, uniform
from coppice.steps.score import score
from coppice.steps.search import Cut, largest_cut
from coppice.tracing import Layer, Network, trace


def network(
    module: nn.Module, *shapes: tuple[int, ...], batch: int = 2, inputs: tuple[torch.Tensor, ...] = ()
) -> Network:
    """The module in evaluation mode, with weights, biases and statistics drawn so that no error can hide in a zero.

    It reads `inputs`, or normal numbers of the given shapes of one sample.
    """
    generator = torch.Generator().manual_seed(0)
    module.eval()
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            for tensor, low, high in ((part.running_mean, -0.5, 0.5), (part.running_var, 0.5, 1.5)):
                if tensor is not None:
                    tensor.uniform_(low, high, generator=generator)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5, generator=generator)
        bias = getattr(part, "bias", None)
        if isinstance(bias, torch.Tensor):
            nn.init.uniform_(bias, -0.5, 0.5, generator=generator)
    inputs = inputs or tuple(torch.randn(batch, *shape, generator=generator) for shape in shapes)
    layers = tuple(
        Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
    )
    return Network(module=module, inputs=inputs, layers=layers)


def cut(net: Network, percent: float, criterion: str = "l1", seed: int = 0) -> tuple[Cut, dict[int, str]]:
    """The largest verified cut of every group, and the groups refused."""
    traced = trace(net, rules.rule_of)
    scores = score(net, traced.channels, criterion, seed).scores
    allocation = Allocation(traced.channels, uniform(traced.channels, percent))
    return largest_cut(net, traced, scores, allocation, range(len(traced.channels.groups)))


class Net(nn.Module):
    """The PyTorch model of the documents."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


class LeNet(nn.Module):
    """LeNet-5 with tanh and average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Two levels, transposed convolutions, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = self._block(3, 8)
        self.down2 = self._block(8, 16)
        self.bottom = self._block(16, 32)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.merge2 = self._block(32, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge1 = self._block(16, 8)
        self.head = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _block(into: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = self.down1(x)
        low = self.down2(F.max_pool2d(high, 2))
        x = self.up2(self.bottom(F.max_pool2d(low, 2)))
        x = self.up1(self.merge2(torch.cat([low, x], dim=1)))
        return self.head(self.merge1(torch.cat([high, x], dim=1)))  # type: ignore[no-any-return]


class HardCoded(Net):
    """As people write it: the flatten names a number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return self.fc2(F.relu(self.fc1(x.view(-1, 9216))))  # type: ignore[no-any-return]


def torchvision_model(name: str, **options: object) -> Callable[[], nn.Module]:
    """A builder of `torchvision.models.<name>` with random weights."""

    def build() -> nn.Module:
        prepare_torchvision()
        from torchvision import models

        torch.manual_seed(0)
        return models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]

    return build


#: name -> (builder, shape of one sample). The models that this engine must cut exactly.
ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "document": (Net, (1, 28, 28)),
    "lenet": (LeNet, (1, 28, 28)),
    "unet": (UNet, (3, 32, 32)),
    "vgg11_bn": (torchvision_model("vgg11_bn"), (3, 64, 64)),
    "resnet18": (torchvision_model("resnet18"), (3, 64, 64)),
    "resnet50": (torchvision_model("resnet50"), (3, 64, 64)),
    "resnext50_32x4d": (torchvision_model("resnext50_32x4d"), (3, 64, 64)),
    "densenet121": (torchvision_model("densenet121"), (3, 64, 64)),
    "mobilenet_v2": (torchvision_model("mobilenet_v2"), (3, 64, 64)),
    "mobilenet_v3_small": (torchvision_model("mobilenet_v3_small"), (3, 64, 64)),
    "mobilenet_v3_large": (torchvision_model("mobilenet_v3_large"), (3, 64, 64)),
    "efficientnet_b0": (torchvision_model("efficientnet_b0"), (3, 64, 64)),
    "shufflenet_v2_x0_5": (torchvision_model("shufflenet_v2_x0_5"), (3, 64, 64)),
    "regnet_y_400mf": (torchvision_model("regnet_y_400mf"), (3, 64, 64)),
    "squeezenet1_1": (torchvision_model("squeezenet1_1"), (3, 64, 64)),
    "googlenet": (torchvision_model("googlenet", init_weights=False), (3, 96, 96)),
    "inception_v3": (torchvision_model("inception_v3", init_weights=False), (3, 299, 299)),
    "mnasnet0_5": (torchvision_model("mnasnet0_5"), (3, 64, 64)),
}

#: The members of the zoo that take a blink, for the quick suite.
QUICK = ("document", "lenet", "unet", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")
