"""Recurrent layers: the gates of a hidden unit go together, and so do its rows and columns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.engine.user_models.written import IMAGE, SERIES, UserModel, conv, floats, model, tokens


def _by_name(kind: str, gates: int, layers: int, directions: int) -> dict[str, tuple[int, ...]]:
    """What one half leaves of `kind(6, 8)` under a linear layer of 5."""
    left: dict[str, tuple[int, ...]] = {"out.weight": (5, 4 * directions)}
    for layer in range(layers):
        for end in ("", "_reverse")[:directions]:
            into = 6 if layer == 0 else 4 * directions
            left[f"cell.weight_ih_l{layer}{end}"] = (4 * gates, into)
            left[f"cell.weight_hh_l{layer}{end}"] = (4 * gates, 4)
            left[f"cell.bias_hh_l{layer}{end}"] = (4 * gates,)
    return left


def _plain(kind: Any, gates: int, layers: int, *, both: bool) -> UserModel:
    return model(
        lambda m, x: m.out(m.cell(x)[0][:, -1]),
        lambda: {
            "cell": kind(6, 8, layers, batch_first=True, bidirectional=both),
            "out": nn.Linear(8 * (1 + both), 5),
        },
        SERIES,
        _by_name(kind.__name__, gates, layers, 1 + both),
    )


def _steps(m: Any, x: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[0], m.hidden)
    c = torch.zeros_like(h)
    for t in range(x.shape[1]):
        h, c = m.cell(x[:, t], (h, c))
    return m.out(h)  # type: ignore[no-any-return]


def _gru_steps(m: Any, x: Tensor) -> Tensor:
    h = None
    for step in m.into(x).unbind(1):
        h = m.cell(step, h)
    return m.out(h)  # type: ignore[no-any-return]


def _conv_lstm(m: Any, x: Tensor) -> Tensor:
    h = c = None
    for frame in x.unbind(1):
        z = m.x(frame) if h is None else m.x(frame) + m.h(h)
        i, f, g, o = z.chunk(4, dim=1)
        c = i.sigmoid() * g.tanh() + (0 if c is None else f.sigmoid() * c)
        h = o.sigmoid() * c.tanh()
    return m.out(h)  # type: ignore[no-any-return]


def _crnn(m: Any, x: Tensor) -> Tensor:
    x = m.conv(x).relu()
    x = x.permute(0, 3, 1, 2).flatten(2)
    return m.out(m.cell(x)[0]).log_softmax(-1)  # type: ignore[no-any-return]


def _seq2seq(m: Any, source: Tensor, target: Tensor) -> Tensor:
    _, state = m.encoder(m.embed(source))
    return m.out(m.decoder(m.embed(target), state)[0])  # type: ignore[no-any-return]


def _tokens_twice() -> tuple[Tensor, ...]:
    return (*tokens(2, 7)(), *tokens(2, 5)())


MODELS: dict[str, UserModel] = {
    **{
        f"{kind.__name__} of {layers} layers, {1 + both} directions": _plain(kind, gates, layers, both=both)
        for kind, gates in ((nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1))
        for layers in (1, 2)
        for both in (False, True)
    },
    "an LSTM between linear layers, time first": model(
        lambda m, x: m.out(m.cell(m.into(x).relu())[1][0][-1]),
        lambda: {"into": nn.Linear(6, 12), "cell": nn.LSTM(12, 8, dropout=0.1, num_layers=2), "out": nn.Linear(8, 5)},
        SERIES,
        {"into.weight": (6, 6), "cell.weight_ih_l0": (16, 6), "cell.weight_hh_l1": (16, 4), "out.weight": (5, 4)},
    ),
    "an LSTM with a projection": model(
        lambda m, x: m.out(m.cell(x)[0]),
        lambda: {"cell": nn.LSTM(6, 8, 2, proj_size=4, bidirectional=True), "out": nn.Linear(8, 5)},
        SERIES,
        {
            "cell.weight_ih_l0": (16, 6),
            "cell.weight_hh_l0": (16, 2),
            "cell.weight_hr_l0": (2, 4),
            "cell.weight_ih_l1_reverse": (16, 4),
            "out.weight": (5, 4),
        },
    ),
    "an LSTM without biases whose state the caller gives": model(
        lambda m, x, h, c: m.out(m.cell(m.into(x), (h, c))[0]),
        lambda: {"into": nn.Linear(6, 12), "cell": nn.LSTM(12, 8, bias=False), "out": nn.Linear(8, 5)},
        floats((10, 2, 6), (1, 2, 8), (1, 2, 8)),
        {"into.weight": (6, 6), "cell.weight_ih_l0": (32, 6), "cell.weight_hh_l0": (32, 8), "out.weight": (5, 8)},
        reason="combined with a fixed position",
    ),
    "LSTM cells in a loop": model(
        _steps,
        lambda: {"cell": nn.LSTMCell(6, 8), "out": nn.Linear(8, 5), "hidden": 8},
        SERIES,
        {"cell.weight_ih": (16, 6), "cell.weight_hh": (16, 4), "out.weight": (5, 4)},
    ),
    "GRU cells in a loop": model(
        _gru_steps,
        lambda: {"into": nn.Linear(6, 12), "cell": nn.GRUCell(12, 8), "out": nn.Linear(8, 5)},
        SERIES,
        {"into.weight": (6, 6), "cell.weight_ih": (12, 6), "cell.weight_hh": (12, 4), "out.weight": (5, 4)},
    ),
    "a convolutional LSTM by hand": model(
        _conv_lstm,
        lambda: {"x": conv(3, 32), "h": conv(8, 32), "out": conv(8, 4)},
        floats((2, 3, 3, 8, 8)),
        {"x.weight": (16, 3, 3, 3), "h.weight": (16, 4, 3, 3), "out.weight": (4, 4, 3, 3)},
    ),
    "convolutions read as a series": model(
        _crnn,
        lambda: {"conv": conv(3, 8), "cell": nn.LSTM(64, 8, bidirectional=True), "out": nn.Linear(16, 5)},
        IMAGE,
        {"conv.weight": (4, 3, 3, 3), "cell.weight_ih_l0": (16, 32), "out.weight": (5, 8)},
    ),
    "an encoder that hands its state to a decoder": model(
        _seq2seq,
        lambda: {
            "embed": nn.Embedding(9, 12),
            "encoder": nn.GRU(12, 8, batch_first=True),
            "decoder": nn.GRU(12, 8, batch_first=True),
            "out": nn.Linear(8, 9),
        },
        _tokens_twice,
        {"embed.weight": (9, 6), "encoder.weight_hh_l0": (12, 4), "decoder.weight_ih_l0": (12, 6)},
    ),
}
