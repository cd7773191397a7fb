"""Steps that refer to each other: what a plan makes of them, and that a long chain stays cheap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.plan import Described, Step, linked

FIRST = Described("first", "do the first")
SECOND = Described("second", "do the second", (FIRST,))


def test_step_without_run_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Step("a", "do a")  # type: ignore[abstract]


def test_predecessors_are_neither_shown_nor_compared() -> None:
    assert replace(SECOND, after=()) == SECOND and "first" not in repr(SECOND)
    assert SECOND.after_keys == ("first",)


def test_each_of_many_steps_that_waits_for_all_before_is_shown_and_compared_at_once() -> None:
    steps: list[Step] = []
    for number in range(200):
        steps.append(Described(f"step {number}", "do it", tuple(steps)))

    assert len(set(steps)) == 200 and len(repr(steps)) < 200 * 100
    assert linked(steps) == tuple(steps)
    assert [step.after_keys for step in linked(steps)] == [step.after_keys for step in steps]


def test_linked_steps_wait_for_those_of_the_plan_alone_each_once() -> None:
    changed = replace(FIRST, title="do another")
    last = Described("last", "do the last", (FIRST, SECOND, FIRST))

    one, two = linked([changed, last])

    assert (one, two.after) == (changed, (changed,))
    assert two.after[0] is one


def test_link_to_a_step_that_comes_later_leads_to_it() -> None:
    early, late = linked([SECOND, FIRST])

    assert (early.key, late.key) == ("second", "first")
    assert early.after[0] is late
