"""Models whose code reshapes by numbers that they keep: in attributes, in containers, in configuration objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Self-attention and an MLP on a residual stream; how the attention reshapes is the subclasses' own."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(x)
        return x + self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]

    def attend(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class ByHeadWidth(Block):
    """Names the width of a head, as timm does."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__(dim, heads, hidden)
        self.head_dim = dim // heads

    def attend(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        mixed = (0.3 * q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, self.num_heads * self.head_dim))  # type: ignore[no-any-return]


class ByDivision(Block):
    """Divides the width of its input by the number of heads, as nanoGPT and torchvision's Swin do."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__(dim, heads, hidden)
        self.dim = dim

    def attend(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.size()
        assert width == self.dim
        q, k, v = (
            one.view(batch, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)
            for one in self.qkv(x).split(self.dim, dim=2)
        )
        mixed = (0.3 * q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).contiguous().view(batch, tokens, width))  # type: ignore[no-any-return]


class Stream(nn.Module):
    """Two blocks between an embedding and a classifier."""

    def __init__(self, block: Callable[[int, int, int], Block], dim: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(12, dim)
        self.blocks = nn.Sequential(block(dim, 4, hidden), block(dim, 4, hidden))
        self.head = nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(x))[:, 0])  # type: ignore[no-any-return]


class GroupedQueries(nn.Module):
    """Fewer keys than queries, as in Llama."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = 4, 2, head_dim
        self.q, self.o = nn.Linear(12, 4 * head_dim), nn.Linear(4 * head_dim, 5)
        self.k, self.v = nn.Linear(12, 2 * head_dim), nn.Linear(12, 2 * head_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, self.heads, self.head_dim).transpose(1, 2)
        k, v = (
            each.view(batch, tokens, self.kv_heads, self.head_dim)
            .transpose(1, 2)[:, :, None]
            .expand(batch, self.kv_heads, self.heads // self.kv_heads, tokens, self.head_dim)
            .reshape(batch, self.heads, tokens, self.head_dim)
            for each in (self.k(x), self.v(x))
        )
        mixed = (0.3 * q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.o(mixed.transpose(1, 2).reshape(batch, tokens, -1))  # type: ignore[no-any-return]


class Flattened(nn.Module):
    """Keeps the number that it flattens to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.flat = channels * 16
        self.conv, self.fc = nn.Conv2d(3, channels, 3, padding=1), nn.Linear(self.flat, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.max_pool2d(self.conv(x), 2).view(-1, self.flat))  # type: ignore[no-any-return]


class Contained(nn.Module):
    """Keeps its numbers in a list, a dictionary and a configuration object."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts, self.by_name = [width, width], {"all": 2 * width, "none": 0}
        self.config = SimpleNamespace(width=width, name="small", inner=SimpleNamespace(flat=4 * width))
        self.into, self.mid, self.out = nn.Linear(12, 2 * width), nn.Linear(width, 4 * width), nn.Linear(4 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.into(x).view(-1, self.by_name["all"]).split(self.parts, dim=1)
        x = (one * other.sigmoid()).view(-1, self.config.width)
        return self.out(self.mid(x).view(-1, self.config.inner.flat))  # type: ignore[no-any-return]


class Halves(nn.Module):
    """Slices at a number that it computes, and joins what it took."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split_at = channels // 2
        self.into, self.left = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels // 2, channels // 2, 1)
        self.out = nn.Conv2d(channels, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        left, right = self.left(x[:, : self.split_at]), x[:, self.split_at :]
        y = torch.cat([left, right], 1)
        return self.out(y.reshape(x.shape[0], left.size(1) + right.size(1), *x.shape[2:]))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Divides by the square root of a width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(12, width), nn.Linear(12, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q(x), self.k(x)
        return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # type: ignore[no-any-return]


class Rest(nn.Module):
    """Splits off a part of its channels and the rest of them, as SHViT does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.part, self.all = channels // 4, channels
        self.into, self.left = nn.Conv2d(3, channels, 1), nn.Conv2d(self.part, self.part, 1)
        self.out = nn.Conv2d(channels, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        part, rest = self.into(x).split([self.part, self.all - self.part], dim=1)
        return self.out(torch.cat([self.left(part), rest], 1))  # type: ignore[no-any-return]


class Caches(nn.Module):
    """Keeps a tensor of its width from one run to the next, as LeViT keeps its biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.offsets = nn.Linear(12, width), nn.Linear(width, 5), dict[str, Tensor]()
        self.bias = nn.Parameter(torch.randn(width))
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if "half" not in self.offsets:
            self.offsets["half"] = self.bias / 2
        self.last = self.a(x) + self.offsets["half"]
        return self.b(F.layer_norm(self.last, (self.last.shape[1],)))  # type: ignore[no-any-return]


def of_class(width: int) -> nn.Module:
    """A model whose class holds the width."""

    class Sized(nn.Module):
        hidden = width

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(12, width), nn.Linear(width, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).view(-1, self.hidden).relu())  # type: ignore[no-any-return]

    return Sized()


#: name -> (a builder that takes a width, the width, the shape of a sample). Half of everything is the half-wide model.
HALVED: dict[str, tuple[Callable[[int], nn.Module], int, tuple[int, ...]]] = {
    "the width of a head": (lambda n: Stream(ByHeadWidth, n, 2 * n), 32, (6, 12)),
    "a division by heads": (lambda n: Stream(ByDivision, n, 2 * n), 32, (6, 12)),
    "grouped queries": (GroupedQueries, 8, (6, 12)),
    "a flattened size": (Flattened, 16, (3, 8, 8)),
    "lists and objects": (Contained, 16, (12,)),
    "two halves": (Halves, 16, (3, 8, 8)),
    "a part and the rest": (Rest, 16, (3, 8, 8)),
    "a kept tensor": (Caches, 16, (12,)),
    "a number of the class": (of_class, 16, (12,)),
    "a square root": (Scaled, 16, (6, 12)),
}
