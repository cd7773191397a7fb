"""What users' browsers report: so much a minute of one user, and of all, by this replica."""

import time

from prometheus_client import Counter

from app.problems import Problem

WINDOW_SECONDS = 60.0
OF_ONE_USER = 10
OF_ALL = 100


class Reports:
    """Counts reports by user in windows of a minute. refused: counts those over the limits."""

    def __init__(self, refused: Counter | None = None) -> None:
        self._until = 0.0
        self._counts: dict[str, int] = {}
        self._all = 0
        self._refused = refused

    def admit(self, subject: str, now: float | None = None) -> None:
        """Raises Problem 429 over the limits. now: in seconds of the monotonic clock."""
        now = time.monotonic() if now is None else now
        if now >= self._until:
            self._until, self._all = now + WINDOW_SECONDS, 0
            self._counts.clear()
        count = self._counts.get(subject, 0)
        if count >= OF_ONE_USER or self._all >= OF_ALL:
            if self._refused is not None:
                self._refused.inc()
            raise Problem(429, "Enough was reported for now.", headers={"Retry-After": str(int(WINDOW_SECONDS))})
        self._counts[subject] = count + 1
        self._all += 1
