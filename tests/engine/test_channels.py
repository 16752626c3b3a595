"""The ledger and its groups, on labels alone."""

from __future__ import annotations

import numpy as np

from coppice.channels import Ledger
from coppice.steps.allocate import Allocation, uniform
from coppice.steps.make_plan import make_plan


def test_units_with_the_same_axes_form_one_group() -> None:
    ledger = Ledger()
    (a,), (b,) = ledger.declare("a", (4,)), ledger.declare("b", (6,))
    for name in "ab":
        ledger.use(name)
    ledger.produces(a)
    ledger.produces(b)
    ledger.tie(a[:2], b[4:])

    groups = {group.axes: group.size for group in ledger.settle().groups}
    assert groups == {(("a", 0), ("b", 0)): 2, (("a", 0),): 2, (("b", 0),): 4}


def test_a_unit_may_hold_many_positions() -> None:
    ledger = Ledger()
    (out,), (into,) = ledger.declare("a", (3,)), ledger.declare("b", (12,))
    ledger.use("a")
    ledger.use("b")
    ledger.produces(out)
    ledger.contract(np.repeat(out, 4), into)

    (group,) = ledger.settle().groups
    assert group.size == 3
    assert group.slots["b", 0].position[group.slots["b", 0].unit == 1].tolist() == [4, 5, 6, 7]
    assert group.producers == (("a", 0),)


def test_one_fixed_position_freezes_its_whole_unit_with_the_first_reason() -> None:
    ledger = Ledger()
    (a,), (b,) = ledger.declare("a", (2,)), ledger.declare("b", (2,))
    ledger.use("a")
    ledger.use("b")
    ledger.produces(a)
    ledger.fix(b[:1], "first")
    ledger.fix(a[:1], "second")
    ledger.tie(a, b)

    channels = ledger.settle()
    assert [(frozen.axis, frozen.count, frozen.reason) for frozen in channels.frozen] == [(("a", 0), 1, "first")]
    assert [group.size for group in channels.groups] == [1]


def test_meeting_a_fixed_position_freezes() -> None:
    ledger = Ledger()
    (a,) = ledger.declare("a", (3,))
    ledger.use("a")
    ledger.produces(a)
    ledger.where = "aten::add at block"
    ledger.tie(a, np.array([0, 0, 0]))
    assert ledger.settle().frozen[0].reason == "combined with a fixed position in aten::add at block"


def test_a_tensor_that_no_operation_reads_is_frozen() -> None:
    ledger = Ledger()
    ledger.declare("a.weight", (3, 2))
    ledger.declare("a.bias", (3,))
    (frozen,) = ledger.settle().frozen
    assert (frozen.axis, frozen.count) == (("a.weight", 0), 3)
    assert frozen.reason == "not run on the example input, so left as it is"


def test_ties_that_repeat_many_times_still_tie() -> None:
    # 256 equal edges would sum to zero in a graph of small integers.
    ledger = Ledger()
    (a,), (b,) = ledger.declare("a", (1,)), ledger.declare("b", (1,))
    ledger.use("a")
    ledger.use("b")
    ledger.produces(a)
    ledger.tie(np.repeat(a, 256), np.repeat(b, 256))
    (group,) = ledger.settle().groups
    assert group.axes == (("a", 0), ("b", 0))


def test_balanced_halves_keep_equal_counts_but_not_the_same_positions() -> None:
    ledger = Ledger()
    (out, _) = ledger.declare("a.weight", (16, 3))
    ledger.use("a.weight")
    ledger.produces(out)
    ledger.balance([out[:8], out[8:]])
    channels = ledger.settle()
    (group,) = channels.groups
    assert group.size == 16, "the positions are not tied"

    scores = np.array([0.0] * 4 + [5.0] * 4 + [1.0] * 8)  # the first four of the first half are the least
    plan = make_plan(channels, (scores,), Allocation(channels, uniform(channels, 0.25)), [0])
    kept = plan.kept["a.weight"][0]
    assert sum(i < 8 for i in kept) == sum(i >= 8 for i in kept) == 6
    assert {0, 1}.isdisjoint(kept)


def test_coupled_axes_of_different_lengths_lose_the_same_share() -> None:
    ledger = Ledger()
    (wide, _), (narrow, _) = ledger.declare("wide.weight", (96, 3)), ledger.declare("narrow.weight", (16, 3))
    for name, labels in (("wide.weight", wide), ("narrow.weight", narrow)):
        ledger.use(name)
        ledger.produces(labels)
    ledger.couple(wide, narrow, "the code divides one by six")
    channels = ledger.settle()
    first, second = channels.groups
    assert first.bundle == second.bundle
    for percent in (0.1, 0.3, 0.45, 0.7):
        wide_removed, narrow_removed = (
            Allocation(channels, uniform(channels, percent)).total(group) for group in channels.groups
        )
        assert wide_removed == 6 * narrow_removed > 0
    assert Allocation(channels, uniform(channels, 0.3)).total(second) == 5, "the nearest number to 4.8"


def test_an_axis_coupled_to_a_fixed_one_stays_with_the_reason() -> None:
    ledger = Ledger()
    (out, _) = ledger.declare("a.weight", (16, 3))
    ledger.use("a.weight")
    ledger.produces(out)
    ledger.couple(out, np.zeros(4, dtype=np.int64), "the code takes a quarter of it for the number of heads")
    channels = ledger.settle()
    assert not channels.groups
    assert channels.frozen[0].reason == "the code takes a quarter of it for the number of heads"


def test_halves_that_cross_the_producers_lose_equal_numbers() -> None:
    ledger = Ledger()
    (left, _), (right, _) = ledger.declare("left.weight", (5, 3)), ledger.declare("right.weight", (13, 3))
    for name, labels in (("left.weight", left), ("right.weight", right)):
        ledger.use(name)
        ledger.produces(labels)
    both = np.concatenate([left, right])  # the middle lies inside of the second: cells of 5, 4 and 9
    ledger.balance([both[:9], both[9:]])
    channels = ledger.settle()
    scores = tuple(np.arange(float(group.size)) for group in channels.groups)
    for percent in (0.3, 0.5, 0.7):
        kept = make_plan(channels, scores, Allocation(channels, uniform(channels, percent)), (0, 1)).kept
        first = len(kept["left.weight"][0]) + sum(i < 4 for i in kept["right.weight"][0])
        second = sum(i >= 4 for i in kept["right.weight"][0])
        assert first == second
        assert abs(first + second - 18 * (1 - percent)) <= 2


def test_a_half_that_is_partly_fixed_loses_as_many_as_the_other() -> None:
    ledger = Ledger()
    (out, _) = ledger.declare("a.weight", (16, 3))
    ledger.use("a.weight")
    ledger.produces(out)
    ledger.fix(out[:6], "picked by position")
    ledger.balance([out[:8], out[8:]])
    channels = ledger.settle()
    kept = make_plan(channels, (np.arange(10.0),), Allocation(channels, uniform(channels, 0.5)), [0]).kept["a.weight"][
        0
    ]
    assert sum(i < 8 for i in kept) == sum(i >= 8 for i in kept) in (6, 7)


def test_a_balance_with_constants_binds_nothing() -> None:
    ledger = Ledger()
    (out, _) = ledger.declare("a.weight", (8, 3))
    ledger.use("a.weight")
    ledger.produces(out)
    ledger.couple(out, ledger.fresh(8), "as long as zeros that the code makes")
    (group,) = ledger.settle().groups
    assert group.size == 8
    assert not ledger.settle().bundles
