"""Which number of a Reshape's target follows a cut: by label vectors worked out with numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.keras_layers.reshape import followed

CASES = [
    ((1, 1, 32), (32,), (19,), (1, 1, 19)),
    ((32,), (1, 1, 32), (1, 1, 19), (19,)),
    ((-1,), (7, 7, 64), (7, 7, 38), (7 * 7 * 38,)),
    ((3136,), (7, 7, 64), (7, 7, 38), (7 * 7 * 38,)),
    ((49, 64), (7, 7, 64), (7, 7, 38), (49, 38)),
    ((-1, 64), (7, 7, 64), (7, 7, 38), (49, 38)),
    ((7, 7, 64), (3136,), (7 * 7 * 38,), (7, 7, 38)),
    ((64, 1, 1), (64,), (38,), (38, 1, 1)),
    ((64, 49), (64, 7, 7), (38, 7, 7), (38, 49)),
    ((10,), (1, 1, 10), (1, 1, 10), (10,)),
]


@pytest.mark.parametrize(("target", "was", "now", "expected"), CASES)
def test_the_channels_of_a_target_follow(
    target: tuple[int, ...], was: tuple[int, ...], now: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert followed(target, was, now) == expected


@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(2, 6), st.data())
def test_a_flattened_cut_keeps_every_channel_in_its_place(
    spatial: list[int], channels: int, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(1, channels))
    was, now = (*spatial, channels), (*spatial, kept)
    target = followed((math.prod(spatial), channels), was, now)
    labels = np.broadcast_to(np.arange(kept), now).reshape(target)
    assert (labels == np.arange(kept)).all()
