"""The ledger and its groups, on labels alone."""

from __future__ import annotations

import numpy as np

from coppice.channels import Ledger


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
    (a,) = ledger.declare("a", (3,))
    ledger.produces(a)
    assert ledger.settle().frozen[0].reason == "not used by the forward pass"


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
