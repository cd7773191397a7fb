"""What is shown of a container that did not become good."""

from __future__ import annotations

from ops.engines.podman.logs import lines
from ops.engines.podman.prove import said_since
from ops.stack.contract import REFUSED_SECONDS, Steady

LOG = """2026-01-31T12:00:00.123456789+00:00 stdout F of an earlier start
2026-01-31T12:00:05.000000001+00:00 stderr F first line
cut off
2026-01-31T12:00:06.500000000+00:00 stdout P part of a long one
"""


def test_lines_of_this_start_are_shown_and_no_earlier_ones() -> None:
    assert said_since(lines("backend-1", LOG), "2026-01-31T12:00:05.9Z") == ["first line", "part of a long one"]


def test_all_are_shown_where_no_start_is_known() -> None:
    assert len(said_since(lines("backend-1", LOG), "")) == 3


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused_after(*answers: tuple[float, int]) -> list[bool]:
    """Whether each answer ends the wait. `answers`: seconds since the one before, and its status."""
    clock = Clock()
    steady, found = Steady(clock), []
    for seconds, status in answers:
        clock.now += seconds
        found.append(steady.refuses(status))
    return found


def test_a_steady_refusal_ends_the_wait_within_seconds() -> None:
    assert REFUSED_SECONDS < 10
    assert refused_after((0, 404), (REFUSED_SECONDS / 2, 404), (REFUSED_SECONDS / 2, 404)) == [False, False, True]


def test_another_answer_in_between_begins_the_count_anew() -> None:
    assert refused_after((0, 404), (REFUSED_SECONDS, 503), (0, 404), (REFUSED_SECONDS / 2, 404)) == [False] * 4


def test_what_may_pass_is_waited_for() -> None:
    assert refused_after((0, 503), (REFUSED_SECONDS, 503), (0, 0), (REFUSED_SECONDS, 0)) == [False] * 4
