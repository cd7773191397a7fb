"""Podman's log file (k8s-file) with Keycloak's JSON in it, as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ops.plan.keycloak.facts import LogLine

ACCESS = "org.keycloak.http.access-log"
DEEPEST = 8
"""Causes of an exception that are read: the root is the one that tells."""


def log_lines(text: str, since: float) -> Iterator[LogLine]:
    """Every line from `since` (seconds since 1970) on but those of the access log.

    Parameters
    ----------
    text: `TIME STREAM P|F MESSAGE` a line, as Podman writes it; its first line may be cut.
    """
    parts: dict[str, str] = {}
    for raw in text.splitlines():
        fields = raw.split(" ", 3)
        at = _epoch(fields[0])
        if at is None or len(fields) < 4 or fields[2] not in ("P", "F"):
            continue
        message = parts.pop(fields[1], "") + fields[3]
        if fields[2] == "P":
            # A line longer than conmon's buffer comes in parts.
            parts[fields[1]] = message
        elif at >= since and (line := _line(at, message)):
            yield line


def _epoch(text: str) -> float | None:
    try:
        # Nanoseconds are more than fromisoformat takes before Python 3.11.
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _line(at: float, message: str) -> LogLine | None:
    try:
        said = json.loads(message)
    except ValueError:
        return LogLine(at, "", "", message)
    if not isinstance(said, dict):
        return LogLine(at, "", "", message)
    if said.get("loggerName") == ACCESS:
        return None
    words = [str(said.get("message", "")), *_causes(said.get("exception"))]
    return LogLine(at, str(said.get("level", "")), str(said.get("loggerName", "")), " | ".join(words))


def _causes(exception: Any) -> Iterator[str]:
    """Type and message of an exception and of what caused it, in JBoss' JSON."""
    for _ in range(DEEPEST):
        if not isinstance(exception, Mapping):
            return
        inner = exception.get("exception", exception)
        yield f"{inner.get('exceptionType', '')}: {inner.get('message', '')}"
        exception = inner.get("causedBy")
