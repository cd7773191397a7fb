"""What the operator asks of the logs: the same answer from the store and from the containers' own files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.core.errors import UsageProblem
from ops.engines.engine import Line
from ops.logs.query import Asked, concerns, fits, live_query, message, query_of, read, row_of, rows, time_of

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def asked(
    services: str = "", since: str | None = None, until: str | None = None, level: str | None = None,
    grep: str | None = None, request_id: str | None = None,
) -> Asked:  # fmt: skip
    return read(services, since, until, level, grep, request_id, NOW)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (asked(), "_time:>=2026-01-31T11:45:00Z !kind:=span"),
        (asked("nginx", "2d"), '_time:>=2026-01-29T12:00:00Z !kind:=span service:in("nginx")'),
        (asked("backend, nginx"), '_time:>=2026-01-31T11:45:00Z !kind:=span service:in("backend", "nginx")'),
        (asked(request_id="ab-1"), '_time:>=2026-01-31T11:45:00Z !kind:=span request_id:="ab-1"'),
        (asked(since="2h", until="1h"), "_time:[2026-01-31T10:00:00Z, 2026-01-31T11:00:00Z) !kind:=span"),
        (asked(until="2026-01-31T10:00"), "_time:[2026-01-31T09:45:00Z, 2026-01-31T10:00:00Z) !kind:=span"),
        (asked(since="2026-01-30T23:00+09:00"), "_time:>=2026-01-30T14:00:00Z !kind:=span"),
        (asked(level="warning"), '_time:>=2026-01-31T11:45:00Z !kind:=span level:in("warn", "error", "fatal")'),
    ],
)
def test_query_of_the_store(question: Asked, expected: str) -> None:
    assert query_of(question) == expected


def test_condition_of_the_store_is_added_as_it_is() -> None:
    assert query_of(replace(asked(), logsql="status:>=500 or a")).endswith(" !kind:=span (status:>=500 or a)")
    assert query_of(replace(asked(), logsql="kind:=span")).endswith("Z (kind:=span)")


def test_query_quotes_what_is_looked_for() -> None:
    assert '_msg:~"say \\"no\\""' in query_of(asked(grep='say "no"'))


def test_lines_to_come_have_no_times() -> None:
    assert live_query(asked()) == "!kind:=span"
    assert live_query(asked("nginx")) == '!kind:=span service:in("nginx")'


@pytest.mark.parametrize(
    ("since", "until", "level"),
    [("yesterday", None, None), ("15", None, None), ("m", None, None), ("15m OR *", None, None), (None, "soon", None),
     ("1h", "2h", None), (None, None, "grave")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(since: str | None, until: str | None, level: str | None) -> None:
    with pytest.raises(UsageProblem):
        asked("", since, until, level)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (asked(), True),
        (asked("backend"), True),
        (asked("nginx,redis"), False),
        (asked(level="error"), True),
        (asked(level="fatal"), False),
        (asked(grep="50[0-9]$"), True),
        (asked(grep="404"), False),
        (asked(request_id="ab-1"), True),
        (asked(request_id="ab-2"), False),
        (asked(since="5m"), False),
        (asked(since="2h", until="1h"), False),
    ],
)
def test_a_line_of_a_file_answers_the_same_question(question: Asked, found: bool) -> None:
    text = '{"level": "error", "message": "GET /api/v1/items 503", "request_id": "ab-1", "status": 503}'
    row = row_of("backend", "1", "2026-01-31T11:50:00.123456789+00:00", text)

    assert fits(question, row) is found


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"_msg": "redis does not answer", "reason": "WRONGPASS"}, "redis does not answer: WRONGPASS"),
        ({"_msg": "migration failed: no table", "reason": "no table"}, "migration failed: no table"),
        ({"_msg": "started"}, "started"),
    ],
)
def test_reason_is_shown_after_the_text(row: dict[str, str], shown: str) -> None:
    assert message(row) == shown


def test_time_that_cannot_be_read_names_the_option_and_its_command() -> None:
    assert time_of("inv trace --since", "2h", NOW) == time_of("inv trace --since", "2026-01-31T10:00", NOW)
    with pytest.raises(UsageProblem, match=r"^--since 2w cannot be read$") as problem:
        time_of("inv trace --since", "2w", NOW)
    assert problem.value.next_step == "inv trace --since 15m"


def test_bad_pattern_is_a_usage_error() -> None:
    with pytest.raises(UsageProblem, match="cannot be read"):
        fits(asked(grep="["), row_of("redis", "", "2026-01-31T11:50:00+00:00", "text"))


def test_lines_of_logs_are_rows_of_their_service_and_replica() -> None:
    at = "2026-01-31T11:50:02.0+00:00"
    lines = [
        Line("backend-1", at, "aside"), Line("redis", at, "first"), Line("redis", "2026-01-31T09:00:00.0+00:00", "old"),
        Line("audit", at, '{"level": "error", "message": "changed"}'),
    ]  # fmt: skip

    assert [(row["service"], row.get("replica", ""), row["_msg"]) for row in rows(asked(), lines)] == [
        ("backend", "1", "aside"), ("redis", "", "first"), ("audit", "", "changed"),
    ]  # fmt: skip
    assert [row["_msg"] for row in rows(asked("redis"), lines)] == ["first"]


@pytest.mark.parametrize(
    ("services", "log", "read_at_all"),
    [("", "redis", True), ("redis", "redis", True), ("redis", "backend-1", False), ("backend", "backend-1", True),
     ("backend", "backend-next", False), ("audit,redis", "audit", True)],
)  # fmt: skip
def test_only_logs_of_services_that_are_asked_for_are_read(services: str, log: str, read_at_all: bool) -> None:
    assert concerns(asked(services), log) is read_at_all
