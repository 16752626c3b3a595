"""What published code does in its forward beside the layers: losses, assertions, packed sequences, complex numbers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, UserModel, conv, floats, model, tokens


def _decoder(m: Any, x: Tensor) -> Tensor:
    states, _ = m.encoder(m.embed(x))
    context = torch.bmm(m.score(states).softmax(1).transpose(1, 2), states).transpose(0, 1)
    output, hidden = m.decoder(context, states[:, -1].unsqueeze(0).contiguous())
    assert (output == hidden).all()
    return m.out(output.squeeze(0))  # type: ignore[no-any-return]


def _packed(m: Any, x: Tensor) -> Tensor:
    steps = nn.utils.rnn.pack_padded_sequence(m.embed(x), torch.tensor([10, 7]), batch_first=True)
    outputs, (hidden, _) = m.lstm(steps)
    padded, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    return m.out(torch.cat([padded.amax(1), hidden[-1]], 1))  # type: ignore[no-any-return]


def _unpooling(m: Any, x: Tensor) -> Tensor:
    x, first = F.max_pool2d(m.a(x).relu(), 2, return_indices=True)
    size = x.size()
    x, second = F.max_pool2d(m.b(x).relu(), 2, return_indices=True)
    x = m.c(F.max_unpool2d(x, second, (2, 2), output_size=size))
    return m.d(F.max_unpool2d(x.relu(), first, (2, 2)))  # type: ignore[no-any-return]


def _clipped_mask(m: Any, x: Tensor, flow: Tensor) -> Tensor:
    y = m.a(x)
    mask = F.grid_sample(torch.ones_like(y), flow, align_corners=True)
    mask[mask < 0.9999] = 0
    mask[mask > 0] = 1
    return m.b(F.grid_sample(y, flow, align_corners=True) * mask)  # type: ignore[no-any-return]


def _quantised(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    z = m.encode(x).permute(0, 2, 3, 1).contiguous()
    flat = z.view(-1, m.width)
    distances = flat.pow(2).sum(1, keepdim=True) + m.codes.weight.pow(2).sum(1) - 2 * flat @ m.codes.weight.t()
    quantised = m.codes(distances.argmin(1)).view(z.shape)
    loss = F.mse_loss(quantised, z.detach()) + 0.25 * F.mse_loss(quantised.detach(), z)
    quantised = z + (quantised - z).detach()
    return loss, m.decode(quantised.permute(0, 3, 1, 2).contiguous())


def _losses(m: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    features = m.a(x).relu().mean((2, 3))
    scores, centres = m.fc(features), m.centres[:2]
    pull = {
        "sum": F.mse_loss(features, centres, reduction="sum"),
        "mean": F.smooth_l1_loss(features, centres),
        "each": F.huber_loss(features, centres, reduction="none").sum(1),
        "absolute": F.l1_loss(features, centres),
    }
    return {"classes": F.cross_entropy(scores, y.argmax(1)), **pull}


def _watchful(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    assert not torch.isnan(y).any(), "not a number"
    assert torch.isfinite(y).all()
    assert torch.equal(y, y.clone())
    assert torch.allclose(y, y.clone())
    return m.b(y.relu())  # type: ignore[no-any-return]


def _rotated(m: Any, x: Tensor) -> Tensor:
    n, length, _ = x.shape
    q, k = (layer(x).view(n, length, 2, -1) for layer in (m.q, m.k))
    q, k = (torch.view_as_complex(part.reshape(*part.shape[:-1], -1, 2)) * m.turns[:length, None] for part in (q, k))
    q, k = (torch.view_as_real(part).flatten(3).transpose(1, 2) for part in (q, k))
    weights = (q @ k.transpose(2, 3)).softmax(-1)
    v = m.v(x).view(n, length, 2, -1).transpose(1, 2)
    return m.out((weights @ v).transpose(1, 2).reshape(n, length, -1))  # type: ignore[no-any-return]


def _global_filter(m: Any, x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(m.into(x), dim=1) * torch.view_as_complex(m.filter)
    return m.out(torch.fft.irfft(spectrum, n=10, dim=1))  # type: ignore[no-any-return]


def _spectral(m: Any, x: Tensor) -> Tensor:
    y = m.into(x)
    spectrum = torch.fft.rfft2(y)
    low = torch.zeros(x.shape[0], m.wide, 8, 5, dtype=spectrum.dtype)
    low[:, :, :3, :3] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :3, :3], m.weights)
    return m.out(F.gelu(torch.fft.irfft2(low, s=(8, 8)) + m.past(y)))  # type: ignore[no-any-return]


def _modulated(m: Any, x: Tensor, style: Tensor) -> Tensor:
    x = m.into(x)
    n, c, h, w = x.shape
    weight = m.scale * m.weight * m.style(style).view(n, 1, c, 1, 1)
    weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(n, m.wide, 1, 1, 1)
    y = F.conv2d(x.view(1, n * c, h, w), weight.view(n * m.wide, c, 3, 3), padding=1, groups=n)
    return m.out(F.leaky_relu(y.view(n, m.wide, h, w), 0.2))  # type: ignore[no-any-return]


def _anchored(m: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    high = m.stem(x)
    levels, flat = [high, m.down(high)], []
    for i, head in enumerate(m.heads):
        levels[i] = head(levels[i])
        n, _, h, w = levels[i].shape
        levels[i] = levels[i].view(n, m.anchors.shape[1], 7, h, w).permute(0, 1, 3, 4, 2).contiguous()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        y = levels[i].sigmoid()
        y[..., 0:2] = (y[..., 0:2] * 2 - 0.5 + torch.stack((columns, rows), 2)) * 2**i
        y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * m.anchors[i].view(1, -1, 1, 1, 2)
        flat.append(y.view(n, -1, 7))
    return torch.cat(flat, 1), levels


def _interactions(m: Any, dense: Tensor, other: Tensor) -> Tensor:
    features = torch.cat([m.a(dense).relu(), m.b(other)], 1).view(dense.shape[0], 2, -1)
    return m.out(torch.bmm(features, features.transpose(1, 2)).flatten(1))  # type: ignore[no-any-return]


MODELS: dict[str, UserModel] = {
    "a decoder that asserts that two states are one": model(
        _decoder,
        lambda: {
            "embed": nn.Embedding(9, 12),
            "encoder": nn.GRU(12, 8, batch_first=True),
            "score": nn.Linear(8, 1),
            "decoder": nn.GRU(8, 8),
            "out": nn.Linear(8, 9),
        },
        tokens(2, 10),
        {"embed.weight": (9, 6), "encoder.weight_hh_l0": (12, 4), "decoder.weight_ih_l0": (12, 4)},
    ),
    "packed sequences": model(
        _packed,
        lambda: {
            "embed": nn.Embedding(9, 12, padding_idx=0),
            "lstm": nn.LSTM(12, 8, bidirectional=True, batch_first=True),
            "out": nn.Linear(24, 3),
        },
        tokens(2, 10),
        {
            "embed.weight": (9, 6),
            "lstm.weight_ih_l0": (16, 6),
            "lstm.weight_hh_l0_reverse": (16, 4),
            "out.weight": (3, 12),
        },
    ),
    "an image pooled and unpooled": model(
        _unpooling,
        lambda: {"a": conv(3, 8), "b": conv(8, 12), "c": conv(12, 8), "d": conv(8, 4)},
        IMAGE,
        {"a.weight": (4, 3, 3, 3), "b.weight": (6, 4, 3, 3), "c.weight": (4, 6, 3, 3), "d.weight": (4, 4, 3, 3)},
    ),
    "a mask that is set where it is small": model(
        _clipped_mask,
        lambda: {"a": conv(3, 8), "b": conv(8, 4)},
        floats((2, 3, 8, 8), (2, 8, 8, 2)),
        {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 3, 3)},
    ),
    "codes of a quantised autoencoder": model(
        _quantised,
        lambda: {"encode": conv(3, 8), "codes": nn.Embedding(20, 8), "decode": conv(8, 3), "width": 8},
        IMAGE,
        {"encode.weight": (4, 3, 3, 3), "codes.weight": (20, 4), "decode.weight": (3, 4, 3, 3)},
        check=Check.STATISTICS,
    ),
    "losses in the forward": model(
        _losses,
        lambda: {"a": conv(3, 8), "fc": nn.Linear(8, 5), "centres": nn.Parameter(torch.randn(5, 8))},
        floats((2, 3, 8, 8), (2, 5)),
        {"a.weight": (4, 3, 3, 3), "fc.weight": (5, 4), "centres": (5, 4)},
        check=Check.STATISTICS,
        reason="picked by position (aten::nll_loss_forward",
    ),
    "questions about all channels": model(
        _watchful,
        lambda: {"a": conv(3, 8), "b": conv(8, 4)},
        IMAGE,
        {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 3, 3)},
    ),
    "places turned in complex numbers": model(
        _rotated,
        lambda: {
            **{name: nn.Linear(12, 16) for name in "qkv"},
            "turns": torch.polar(torch.ones(32, 4), torch.outer(torch.arange(32), torch.rand(4))),
            "out": nn.Linear(16, 3),
        },
        floats((2, 10, 12)),
        {"q.weight": (8, 12), "v.weight": (8, 12), "out.weight": (3, 8)},
    ),
    "a filter of complex numbers over all steps": model(
        _global_filter,
        lambda: {"into": nn.Linear(6, 8), "filter": nn.Parameter(torch.randn(6, 8, 2)), "out": nn.Linear(8, 3)},
        floats((2, 10, 6)),
        {"into.weight": (4, 6), "filter": (6, 4, 2), "out.weight": (3, 4)},
    ),
    "a layer that mixes low frequencies": model(
        _spectral,
        lambda: {
            "into": conv(3, 8),
            "weights": nn.Parameter(torch.randn(8, 12, 3, 3, dtype=torch.complex64)),
            "past": conv(8, 12, 1),
            "out": conv(12, 3, 1),
            "wide": 12,
        },
        IMAGE,
        {"into.weight": (4, 3, 3, 3), "weights": (4, 6, 3, 3), "past.weight": (6, 4, 1, 1), "out.weight": (3, 6, 1, 1)},
    ),
    "weights that a style scales for each sample": model(
        _modulated,
        lambda: {
            "into": conv(3, 8),
            "style": nn.Linear(6, 8),
            "weight": nn.Parameter(torch.randn(1, 12, 8, 3, 3)),
            "out": conv(12, 3),
            "wide": 12,
            "scale": 0.1,
        },
        floats((2, 3, 8, 8), (2, 6)),
        {"into.weight": (4, 3, 3, 3), "style.weight": (4, 6), "weight": (1, 6, 4, 3, 3), "out.weight": (3, 6, 3, 3)},
    ),
    "products of features with features": model(
        _interactions,
        lambda: {"a": nn.Linear(6, 8), "b": nn.Linear(5, 8), "out": nn.Linear(4, 3)},
        floats((4, 6), (4, 5)),
        {"a.weight": (4, 6), "b.weight": (4, 5), "out.weight": (3, 4)},
    ),
    "a detector with anchors in a buffer": model(
        _anchored,
        lambda: {
            "stem": conv(3, 8),
            "down": conv(8, 16, stride=2),
            "heads": nn.ModuleList([conv(8, 14, 1), conv(16, 14, 1)]),
            "anchors": torch.rand(2, 2, 2),
        },
        IMAGE,
        {"stem.weight": (4, 3, 3, 3), "down.weight": (8, 4, 3, 3), "heads.1.weight": (14, 8, 1, 1)},
    ),
}
