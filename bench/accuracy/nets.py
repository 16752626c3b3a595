"""The networks of the benchmark: the two of the documents, and one of each kind of coupling that users bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from examples.demo.user_torch.model import Net


def _normed(into: int, out: int, stride: int = 1, groups: int = 1, kernel: int = 3) -> list[nn.Module]:
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out)]


def keras_twin() -> nn.Module:
    """The Keras document's model in torch, because Torch-Pruning reads nothing else; `he_uniform`, as there."""

    def block(into: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 3), nn.BatchNorm2d(out, eps=1e-3, momentum=0.01), nn.ReLU()]

    pool = nn.MaxPool2d(2)
    features = [*block(1, 32), pool, *block(32, 64), *block(64, 32), pool]
    model = nn.Sequential(*features, nn.Flatten(), nn.Linear(512, 100), nn.ReLU(), nn.Linear(100, 10))
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def vgg() -> nn.Module:
    """Six convolutions with batch norm, flattened into two dense layers."""
    layers: list[nn.Module] = []
    for into, out in ((1, 16), (16, 32), (32, 64)):
        layers += [*_normed(into, out), nn.ReLU(), *_normed(out, out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(576, 128), nn.ReLU(), nn.Linear(128, 10))


class Residual(nn.Module):
    """Two convolutions around which the stream flows."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*_normed(into, out, stride), nn.ReLU(), *_normed(out, out))
        self.shortcut = nn.Sequential(*(_normed(into, out, stride, kernel=1) if stride > 1 else ()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


def resnet() -> nn.Module:
    """Fourteen layers in three stages; the residual stream is cut like everything else."""
    blocks = [
        Residual(*sizes) for sizes in ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
    ]
    return nn.Sequential(
        *_normed(1, 16, stride=2), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


class Mobile(nn.Module):
    """Depthwise blocks, two branches concatenated, and a flattened map: couplings that are no layer's own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_normed(1, 24, stride=2), nn.ReLU())
        self.near, self.far = self._separable(24, 32), self._separable(24, 32)
        self.last = nn.Sequential(self._separable(64, 64, stride=2), self._separable(64, 48))
        self.head = nn.Linear(48 * 49, 10)

    @staticmethod
    def _separable(into: int, out: int, stride: int = 1) -> nn.Module:
        depthwise = [*_normed(into, into, stride, groups=into), nn.ReLU()]
        return nn.Sequential(*depthwise, *_normed(into, out, kernel=1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.last(torch.cat([self.near(x), self.far(x)], dim=1))
        found: torch.Tensor = self.head(x.flatten(1))
        return found


class Attention(nn.Module):
    """Self-attention as it is written by hand; it reshapes to the width that it finds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v)
        mixed: torch.Tensor = self.out(found.transpose(1, 2).reshape(rows, tokens, -1))
        return mixed


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x)
        out: torch.Tensor = x + self.mlp(x)
        return out


class VisionTransformer(nn.Module):
    """Patches of 7 x 7, three encoders of four heads, the mean of the tokens."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.encoders = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        found: torch.Tensor = self.head(self.norm(self.encoders(x)).mean(dim=1))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One network: how it is built, of which data, what is kept out of the cut, how long it learns."""

    title: str
    build: Callable[[], nn.Module]
    data: tuple[str, ...] = ("digits",)
    omit: tuple[str, ...] = ()
    epochs: Mapping[str, int]
    rate: float = 0.02


_BOTH = {"mnist": 4, "digits": 12}
NETS: Mapping[str, Entry] = {
    "net": Entry(title="PyTorch document", build=Net, data=("mnist", "digits"), epochs=_BOTH),
    "net-omit": Entry(
        title="PyTorch document, fc1 and fc2 omitted as there",
        build=Net,
        data=("mnist",),
        omit=("fc1", "fc2"),
        epochs=_BOTH,
    ),
    "keras": Entry(title="Keras document (in torch)", build=keras_twin, data=("mnist", "digits"), epochs=_BOTH),
    "vgg": Entry(title="VGG with batch norm", build=vgg, epochs={"digits": 12}),
    "resnet": Entry(title="ResNet-14", build=resnet, epochs={"digits": 16}),
    "mobile": Entry(title="depthwise and concat", build=Mobile, epochs={"digits": 16}),
    "vit": Entry(title="ViT", build=VisionTransformer, epochs={"digits": 40}, rate=0.05),
}
