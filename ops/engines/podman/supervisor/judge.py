"""When a container counts as unhealthy, what is done about it, and how long it is left alone afterwards. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ops.engines.podman.supervisor.health import Target

FAILURES = 3
"""Rounds in a row that a container may fail before it is restarted."""
BUSY_SECONDS, RECOVERY_SECONDS = 300.0, 1800.0
"""How long a container that answers its liveness probe may be not ready before it is restarted all the same; the second for one
that has a program for it, a database that recovers."""
LONGEST_PAUSE = 600.0
"""Seconds that repeated restarts of one container are kept apart at most."""


@dataclass
class Watch:
    """What is known of one container from round to round. Times are seconds of the monotonic clock, `since` of the epoch."""

    reason: str = "not yet asked"
    since: float = 0.0
    failures: int = 0
    not_ready_since: float | None = None
    asked: float = float("-inf")
    mended: int = 0
    next_mend: float = 0.0
    told_podman: str = ""


def pause_after(attempts: int) -> float:
    """Seconds to leave a container alone after that many restarts: 30, 60, 120 … at most ten minutes."""
    return float(min(LONGEST_PAUSE, 30.0 * 2 ** max(0, attempts - 1)))


def judge(watch: Watch, reason: str, now: float, wall: float, *, live: bool = False) -> None:
    """Take up one answer: empty means healthy. `live`: a container that is not ready answers its liveness probe."""
    if bool(reason) != bool(watch.reason) or not watch.since:
        watch.since = wall
    watch.reason = reason
    watch.failures = watch.failures + 1 if reason and not live else 0
    if not reason:
        watch.not_ready_since = None
    elif watch.not_ready_since is None:
        watch.not_ready_since = now
    if not reason and now > watch.next_mend + LONGEST_PAUSE:
        watch.mended = 0


def due(watch: Watch, target: Target, running_seconds: float | None, now: float, ill: Collection[str] = ()) -> str:
    """What to do about a container now: `start`, `restart` or nothing.

    running_seconds: how long its main process has been running; None when it does not run. ill: services that do not do what
    their users need. Who needs one of them is not restarted: it cannot get better by that, and may still be of some use.
    """
    patience = RECOVERY_SECONDS if target.live.startswith("/") else BUSY_SECONDS
    not_ready = 0.0 if watch.not_ready_since is None else now - watch.not_ready_since
    if not watch.reason or now < watch.next_mend or (watch.failures < FAILURES and not_ready < patience):
        return ""
    if running_seconds is None:
        return "start"
    return "restart" if running_seconds > target.start_seconds and not set(target.needs).intersection(ill) else ""
