"""The pictures of groups are what the engine says now, and can be read without being seen."""

from __future__ import annotations

import pytest

from docs import traced
from tests.documentation.walkthrough import DOCS


@pytest.mark.parametrize("name", traced.PICTURES)
def test_a_picture_is_what_a_trace_of_today_draws(name: str) -> None:
    assert (traced.FOLDER / f"{name}.svg").read_text() == traced.drawing(traced.PICTURES[name])


def test_every_picture_is_shown_and_no_other_is_there() -> None:
    shown = (DOCS / "explanation" / "channels.md").read_text()

    assert {path.stem for path in traced.FOLDER.iterdir()} == set(traced.PICTURES)
    assert not [name for name in traced.PICTURES if f"](../pictures/{name}.svg)" not in shown]


def test_a_flattened_channel_is_four_columns_and_a_concatenated_one_is_shifted() -> None:
    flattened = traced.traced(traced.PICTURES["flatten"].model())
    joined = traced.traced(traced.PICTURES["concat"].model())

    assert traced.marks(flattened, "fc.weight", 1).gone == {4, 5, 6, 7}
    assert traced.marks(joined, "out.weight", 1).gone == {1, 5}
