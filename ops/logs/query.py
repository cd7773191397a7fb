"""What an operator asks of the logs: as a LogsQL query for the store, and as a filter for the containers' own files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.core.errors import UsageProblem, did_you_mean
from ops.engines.engine import Line

DEFAULT_SINCE = "15m"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LEVELS = ("debug", "info", "warn", "error", "fatal")
"""The names that the collector gives to the levels of all programs, the least grave first."""
ALSO = {"warning": "warn", "critical": "fatal"}
SPAN = "span"
"""Field `kind` of the records that `inv trace` shows."""
SEARCHED = ("_msg", "raw", "path", "reason")
"""Fields that --grep looks at."""


@dataclass(frozen=True)
class Asked:
    """A question. Empty fields ask for nothing in particular; `until` is None where there is no end."""

    services: tuple[str, ...]
    since: datetime
    until: datetime | None
    level: str = ""
    grep: str = ""
    request_id: str = ""
    logsql: str = ""
    """A condition in the language of the log store."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The level that was asked for, and all graver ones."""
        return LEVELS[LEVELS.index(self.level) :] if self.level else ()


def read(
    services: str, since: str | None, until: str | None, level: str | None, grep: str | None, request_id: str | None,
    now: datetime,
) -> Asked:  # fmt: skip
    """What a command line asks.

    services: names with commas between them. since, until: an age such as 15m, or a time such as 2026-01-31T14:00 (UTC).
    Raises UsageProblem for a time or a level that cannot be read.
    """
    end = time_of("inv logs --until", until, now) if until else None
    begin = time_of("inv logs --since", since or DEFAULT_SINCE, now if since else end or now)
    if end and begin >= end:
        raise UsageProblem("--since is later than --until", f"{begin:%Y-%m-%d %H:%M:%S} is not before {end:%Y-%m-%d %H:%M:%S}",
                           "inv logs --since 2h --until 1h")  # fmt: skip
    grave = ALSO.get(level or "", level or "")
    if grave and grave not in LEVELS:
        raise UsageProblem(f'there is no level "{level}"', did_you_mean(grave, LEVELS), "inv logs --level warn")
    names = tuple(name.strip() for name in services.split(",") if name.strip())
    return Asked(names, begin, end, grave, grep or "", request_id or "")


def time_of(option: str, text: str, before: datetime) -> datetime:
    """What an option says: an age before a time, or a time.

    option: with its command, such as `inv logs --since`. Raises UsageProblem for what is neither.
    """
    if age := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return before - timedelta(**{UNITS[age[2]]: int(age[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(
            f"{option.rpartition(' ')[2]} {text} cannot be read",
            "it must be an age (90s, 15m, 4h, 2d) or a time (2026-01-31T14:00)", f"{option} 15m",
        ) from None  # fmt: skip
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def query_of(asked: Asked) -> str:
    """The question in LogsQL, the language of VictoriaLogs."""
    return " ".join((_time(asked), *_conditions(asked)))


def live_query(asked: Asked) -> str:
    """The question without its times, for lines that are still to come."""
    return " ".join(_conditions(asked)) or "*"


def _time(asked: Asked) -> str:
    return f"_time:[{in_utc(asked.since)}, {in_utc(asked.until)})" if asked.until else f"_time:>={in_utc(asked.since)}"


def in_utc(at: datetime) -> str:
    """A time in LogsQL."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _conditions(asked: Asked) -> list[str]:
    parts = [] if "kind:" in asked.logsql else [f"!kind:={SPAN}"]
    if asked.services:
        parts.append(f"service:in({', '.join(map(json.dumps, asked.services))})")
    if asked.levels:
        parts.append(f"level:in({', '.join(map(json.dumps, asked.levels))})")
    if asked.request_id:
        parts.append(f"request_id:={json.dumps(asked.request_id)}")
    if asked.grep:
        parts.append(f"({' or '.join(f'{name}:~{json.dumps(asked.grep)}' for name in SEARCHED)})")
    if asked.logsql:
        parts.append(f"({asked.logsql})")
    return parts


def service_of(log: str) -> tuple[str, str]:
    """Service and replica of a log's name."""
    name, _, replica = log.rpartition("-")
    return (name, replica) if name and replica.isdigit() else (log, "")


def concerns(asked: Asked, log: str) -> bool:
    """Whether a log of this name is asked for."""
    return not asked.services or service_of(log)[0] in asked.services


def rows(asked: Asked, lines: Iterable[Line]) -> Iterator[Mapping[str, Any]]:
    """Those lines of logs that are asked for, as rows."""
    return (row for line in lines if fits(asked, row := row_of(*service_of(line.log), line.at, line.text)))


def row_of(service: str, replica: str, time: str, text: str) -> dict[str, Any]:
    """A line of a container as a row like those of the store: a JSON line by its fields, another one as its text."""
    row: dict[str, Any] = {"_msg": text}
    try:
        fields = json.loads(text) if text.startswith("{") else None
    except ValueError:
        fields = None
    if isinstance(fields, dict):
        mdc = fields.get("mdc") if isinstance(fields.get("mdc"), dict) else {}
        row = {"_msg": fields.get("message") or fields.get("msg") or text, **(mdc or {}), **fields}
        if "traceId" in row:
            row.setdefault("request_id", row["traceId"])
        said = str(fields.get("level") or fields.get("severity") or fields.get("error_severity") or "").lower()
        row["level"] = ALSO.get(said, said)
    return {**row, "_time": time, "service": service, **({"replica": replica} if replica else {})}


def message(row: Mapping[str, Any]) -> str:
    """What a row says, on one line: its text, and the reason that a service gave in a field of its own."""
    text, reason = str(row.get("_msg", "")), str(row.get("reason") or "")
    return f"{text}: {reason}" if reason and reason not in text else text


def fits(asked: Asked, row: Mapping[str, Any]) -> bool:
    """Whether a row is one that was asked for. Raises UsageProblem where --grep is no regular expression."""
    moment = datetime.fromisoformat(str(row["_time"]))
    if moment < asked.since or (asked.until and moment >= asked.until):
        return False
    if asked.services and row["service"] not in asked.services:
        return False
    if asked.levels and row.get("level") not in asked.levels:
        return False
    if asked.request_id and row.get("request_id") != asked.request_id:
        return False
    if row.get("kind") == SPAN:
        return False
    try:
        return not asked.grep or any(re.search(asked.grep, str(row.get(name, ""))) for name in SEARCHED)
    except re.error as problem:
        raise no_pattern(asked, str(problem)) from problem


def no_pattern(asked: Asked, why: str) -> UsageProblem:
    """The refusal of a question that cannot be read. `why`: in the words of whoever read it, the query itself left out."""
    cause = re.search(r"error parsing regexp: ([^;]*)", why)
    if asked.logsql:
        return UsageProblem(f"--query {asked.logsql} cannot be read", why[-200:], "inv logs --query 'status:>=500'")
    return UsageProblem(
        f"--grep {asked.grep} cannot be read" if asked.grep else "the log store cannot read this question",
        cause[1] if cause else why[:200], "inv logs --grep 'GET .* 50[0-9]'",
    )  # fmt: skip
