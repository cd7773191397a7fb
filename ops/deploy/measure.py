"""What the prober saw: whether one request failed, and what a deploy's requests add up to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GET, POST, WEBSOCKET, DOWNLOAD = KINDS = ("get", "post", "websocket", "download")
MOST_FAILURES = 10
"""Failures that a summary names; the rest are counted. The first ones show what happened, those that were not announced
before all others."""
ORDERLY_CLOSES = frozenset({1000, 1001, 1005, 1012, 1013})
"""RFC 6455 and the IANA registry: done, going away, no code, service restart, try again later: clients just connect anew."""
SERVER_ERROR = 500


@dataclass(frozen=True)
class Outcome:
    """How one request of the prober ended, as far as its client could see."""

    status: int = 0
    """HTTP status; 0 where no answer began."""
    error: str = ""
    """What broke the request off, in the client's words."""
    expected: int | None = None
    """Bytes that the answer declared; None where it declared none."""
    received: int = 0
    """Bytes of the answer's body."""
    connections: tuple[str, ...] = ()
    """How each attempt got its connection: `reused` (it was open and idle) or `created`."""
    closed: int | None = None
    """Close code of a WebSocket that has ended; 1006 where it broke off."""


@dataclass(frozen=True)
class Sample:
    """One finished request."""

    at: float
    """Seconds since the epoch when it was due; sent late counts as slow."""
    kind: str
    ms: float
    """Milliseconds from when it was due until it had ended."""
    status: int = 0
    failed: str = ""
    """Why it failed; empty when it did not."""
    retried: bool = False
    attempts: int | None = None
    """How often the server has carried out this POST, where its answer says so."""
    closed: int | None = None

    @property
    def ended(self) -> float:
        return self.at + self.ms / 1000

    def as_line(self) -> str:
        """One line of the prober's file; what has nothing to say is left out."""
        always = {"at": round(self.at, 4), "kind": self.kind, "ms": round(self.ms, 2)}
        more = {"retried": self.retried or None, "attempts": self.attempts, "closed": self.closed}
        known = {name: value for name, value in more.items() if value is not None}
        return json.dumps({**always, "status": self.status, "failed": self.failed, **known}) + "\n"


def judge(outcome: Outcome) -> str:
    """Why this request failed; empty when its user would not have noticed anything.

    A refusal (4xx) is an answer: the release that runs before may not have the address yet.
    """
    return outcome.error or (_judge_answer(outcome) if outcome.closed is None else _judge_close(outcome.closed))


def _judge_close(code: int) -> str:
    return "" if code in ORDERLY_CLOSES else f"the socket was closed with {code}"


def _judge_answer(outcome: Outcome) -> str:
    if not outcome.status:
        return "no answer"
    if outcome.status >= SERVER_ERROR:
        return f"answered {outcome.status}"
    if outcome.expected is not None and outcome.received != outcome.expected:
        return f"the answer was cut short: {outcome.received} of {outcome.expected} bytes"
    if len(outcome.connections) > 1 and not retried(outcome):
        return "the connection was closed before the answer"
    return ""


def retried(outcome: Outcome) -> bool:
    """Whether it was sent again because the server had closed the idle connection, as RFC 9110 (9.2.2) lets clients do."""
    return len(outcome.connections) > 1 and outcome.connections[0] == "reused"


def parse(text: str) -> tuple[Sample, ...]:
    """The samples of a prober's file. A last line that was cut short by its end, and whatever is no sample, is left out."""
    found = []
    for line in text.splitlines():
        try:
            found.append(Sample(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return tuple(found)


def nearest_rank(values: Iterable[float], percent: float) -> float | None:
    """The smallest value that at least this many percent do not exceed; None of no values."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1] if ordered else None


def _window(sample: Sample, began: float, ended: float) -> str:
    """A request belongs to the deploy if any part of it does: one that was under way when it began may be cut by it."""
    if sample.ended < began:
        return "before"
    return "after" if sample.at > ended else "during"


def _latencies(windows: Mapping[str, Sequence[Sample]], percent: float) -> dict[str, float | None]:
    """Of answered GETs and POSTs alone: a download takes as long as it was asked to, a refusal at once says nothing."""
    return {
        name: nearest_rank((s.ms for s in samples if s.kind in {GET, POST} and not s.failed), percent)
        for name, samples in windows.items()
    }


AFTERWARDS_SECONDS = 5.0
"""How long after an interruption a request may still fail of it: pools open their connections anew."""


def _of(interruptions: Iterable[tuple[float, float]], sample: Sample) -> bool:
    return any(sample.ended >= began and sample.at <= ended + AFTERWARDS_SECONDS for began, ended in interruptions)


def summarise(
    samples: Iterable[Sample], began: float, ended: float, interruptions: Iterable[tuple[float, float]] = ()
) -> dict[str, Any]:
    """What a release records about the requests of its deploy.

    samples: in any order. began, ended: of the deploy, in seconds since the epoch. interruptions: beginning and end of each
    time in which requests fail as the plan has announced.

    Counts are of the requests that the deploy can have touched, so of those during and after it; `failed_before` says
    whether all was well before, `announced` how many of the failed ones belong to interruptions. Percentiles are nearest-rank,
    in milliseconds; null where nothing was measured.
    """
    windows: dict[str, list[Sample]] = {"before": [], "during": [], "after": []}
    for sample in sorted(samples, key=lambda sample: sample.at):
        windows[_window(sample, began, ended)].append(sample)
    touched = [*windows["during"], *windows["after"]]
    away = list(interruptions)
    failures = sorted((sample for sample in touched if sample.failed), key=lambda sample: _of(away, sample))
    return {
        "requests": len(touched),
        "failed": len(failures),
        "announced": sum(_of(away, sample) for sample in failures),
        "failed_before": sum(bool(sample.failed) for sample in windows["before"]),
        "retried": sum(sample.retried for sample in touched),
        "repeated": sum((sample.attempts or 1) > 1 for sample in touched),
        "refused": sum(400 <= sample.status < SERVER_ERROR for sample in touched),
        "failures": [
            {"at": s.at, "kind": s.kind, "why": s.failed, **({"announced": True} if _of(away, s) else {})}
            for s in failures[:MOST_FAILURES]
        ],
        "p50_ms": _latencies(windows, 50),
        "p99_ms": _latencies(windows, 99),
        "websocket_closed": sum(sample.closed is not None for sample in touched),
        "seconds": round(ended - began, 3),
    }
