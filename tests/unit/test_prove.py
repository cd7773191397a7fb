"""What is shown of a container that did not become good."""

from __future__ import annotations

from ops.machine.prove import lines_since

LOG = """2026-01-31T12:00:00.123456789+00:00 stdout F of an earlier start
2026-01-31T12:00:05.000000001+00:00 stderr F first line
cut off
2026-01-31T12:00:06.500000000+00:00 stdout P part of a long one
"""


def test_lines_of_this_start_are_shown_and_no_earlier_ones() -> None:
    assert lines_since(LOG, "2026-01-31T12:00:05.9Z") == ["first line", "part of a long one"]


def test_all_are_shown_where_no_start_is_known() -> None:
    assert len(lines_since(LOG, "")) == 3
