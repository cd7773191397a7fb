"""Keycloak's log: JSON, or the console's format, as lines with their level."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ops.engines.engine import Line
from ops.keycloak.failures.facts import LogLine

ACCESS = "org.keycloak.http.access-log"
SERVED = re.compile(r"status=[23]\d\d\b")
CONSOLE = re.compile(
    r"(?:\d{4}-\d\d-\d\d )?(?:\d\d:\d\d:\d\d,\d{3} )?(TRACE|DEBUG|INFO|WARN|ERROR|FATAL|SEVERE) +\[([^\]]+)\] \((.*?)\) (.*)"
)
"""Quarkus' format where log-console-output is not json: TIME LEVEL [LOGGER] (THREAD) MESSAGE."""
CONTINUED = re.compile(r"\s+\S|Caused by: |Suppressed: |==> ")
"""Begins a line of the console's format that belongs to the one with a level before it."""
FRAME = re.compile(r"\s+(?:at |\.\.\. \d+ )")
HINT = "For more details run the same command"
FAILED = frozenset({"ERROR", "FATAL", "SEVERE"})
DEEPEST = 8
"""Causes of an exception that are read: the root is the one that tells."""


def log_lines(lines: Iterable[Line], since: float) -> Iterator[LogLine]:
    """Every line from `since` (seconds since 1970) on; of the access log, only that a request was served, and when.

    Lines of the console's format that belong together, as an exception and its causes, are one.
    """
    record: LogLine | None = None
    for _, written, message in lines:
        if (at := datetime.fromisoformat(written).timestamp()) < since:
            continue
        if record is not None and record.level and CONTINUED.match(message):
            if not FRAME.match(message):
                record = replace(record, text=f"{record.text} | {message.strip()}")
            continue
        if record is not None:
            yield record
        line = _line(at, message)
        record = None
        if line is not None and message.startswith("{"):
            yield line
        else:
            record = line
    if record is not None:
        yield record


def errors(lines: Iterable[Line], since: float) -> list[str]:
    """What Keycloak called an error from `since` on, each once; the one that it gives up with comes last."""
    return _errors(log_lines(lines, since))


def errors_said(output: str) -> list[str]:
    """The same of what a one-off run printed."""
    return _errors(line for said in output.splitlines() if (line := _line(0.0, said)))


def last_words(lines: Iterable[LogLine]) -> list[str]:
    """What was called an error, or has no level since another program than Keycloak wrote it; each once, the last one last."""
    return _errors(lines, {*FAILED, ""})


def _errors(lines: Iterable[LogLine], levels: Collection[str] = FAILED) -> list[str]:
    said = (line.text for line in lines if line.level in levels)
    return list(dict.fromkeys(" ".join(one.replace("ERROR: ", "").split()) for one in said if not one.startswith(HINT)))


def _line(at: float, message: str) -> LogLine | None:
    try:
        said = json.loads(message)
    except ValueError:
        return _plain(at, message)
    if not isinstance(said, dict):
        return LogLine(at, "", "", message)
    if said.get("loggerName") == ACCESS:
        return LogLine(at, "INFO", ACCESS, "served") if SERVED.search(str(said.get("message", ""))) else None
    words = [str(said.get("message", "")), *_causes(said.get("exception"))]
    return LogLine(at, str(said.get("level", "")), str(said.get("loggerName", "")), " | ".join(words))


def _plain(at: float, message: str) -> LogLine:
    """A line of the console's format; one without a level is part of an exception, or of a program before Keycloak."""
    if match := CONSOLE.match(message):
        level, logger, _, text = match.groups()
        return LogLine(at, level, logger, text)
    return LogLine(at, "", "", message)


def _causes(exception: Any) -> Iterator[str]:
    """Type and message of an exception and of what caused it, in JBoss' JSON."""
    for _ in range(DEEPEST):
        if not isinstance(exception, Mapping):
            return
        inner = exception.get("exception", exception)
        yield f"{inner.get('exceptionType', '')}: {inner.get('message', '')}"
        exception = inner.get("causedBy")
