"""How many calls are let in: against a window that slides over all of them, counted one by one."""

from __future__ import annotations

import asyncio
import random

import pytest

from coppice.jobs import rates
from coppice.jobs.rates import LocalRates
from tests.turned_clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)
    return clock


def granted(counted: LocalRates, limit: int, name: str = "ann") -> bool:
    return asyncio.run(counted.count(name, limit)).granted


def test_a_quiet_client_may_make_all_calls_of_a_minute_at_once_and_no_more(clock: Clock) -> None:
    for limit in (1, 7, 60, 600):
        counted = LocalRates()
        left = [asyncio.run(counted.count("ann", limit)).remaining for _ in range(limit)]
        assert left == list(range(limit - 1, -1, -1))
        refused = asyncio.run(counted.count("ann", limit))
        assert (refused.granted, refused.remaining) == (False, 0)
        assert granted(counted, limit, "bob")


@pytest.mark.parametrize("limit", [1, 3, 7, 60, 600])
def test_the_wait_that_is_told_is_true_to_the_millisecond(clock: Clock, limit: int) -> None:
    counted = LocalRates()
    for _ in range(limit):
        assert granted(counted, limit)
    told = asyncio.run(counted.count("ann", limit)).wait
    assert told == pytest.approx(60 / limit)
    clock.now += told - 0.001
    assert not granted(counted, limit)
    clock.now += 0.002
    assert granted(counted, limit)


def test_whatever_the_times_no_window_holds_more_than_its_share(clock: Clock) -> None:
    chance = random.Random(6)  # times of calls
    counted, limit, let_in = LocalRates(), 30, list[float]()
    for _ in range(2000):
        clock.now += chance.choice((0.0, 0.01, 0.5, 3.0, 40.0)) * chance.random()
        if granted(counted, limit):
            let_in.append(clock.now)
    assert len(let_in) < 2000
    for first, begin in enumerate(let_in):
        for length in (1.0, 60.0, 300.0):
            within = sum(1 for at in let_in[first:] if at < begin + length)
            assert within <= limit + length * limit / 60 + 1


def test_a_look_counts_nothing(clock: Clock) -> None:
    counted = LocalRates()
    for _ in range(10):
        assert asyncio.run(counted.look("ann", 2)).granted
    assert [granted(counted, 2) for _ in range(3)] == [True, True, False]
    assert not asyncio.run(counted.look("ann", 2)).granted


def test_names_whose_allowance_is_whole_again_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MANY", 100)
    counted = LocalRates()
    for number in range(5000):
        clock.now += 1
        assert granted(counted, 60, f"address {number}")
    assert len(counted._full_at) <= 100
