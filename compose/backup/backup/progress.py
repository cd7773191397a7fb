"""What a job is doing, as JSON lines on stdout for `inv backup`; silent where nobody asked."""

import json
import sys
import time
from collections.abc import Callable

EVERY = 1.0
"""Seconds between two lines of one phase."""


class Progress:
    """`phase` begins a part of the job, `bytes` says how far it is, `event` is anything else (start, done, failed)."""

    def __init__(self, write: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._begun = clock()
        self._phase = ("", "")
        self._since = self._begun
        self._last = -EVERY
        self.seconds: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        return self._write is not None

    def event(self, event: str, **fields: object) -> None:
        if self._write:
            elapsed = round(self._clock() - self._begun, 1)
            self._write(json.dumps({"event": event, "elapsed": elapsed, **fields}) + "\n")

    def phase(self, name: str, repository: str = "") -> None:
        self._close()
        self._phase = (name, repository)
        self._since, self._last = self._clock(), -EVERY
        if name:
            self.event("phase", phase=name, repository=repository)

    def bytes(self, done: int, total: int) -> None:
        """Parameters: bytes. `rate` is bytes a second since the phase began."""
        now = self._clock()
        if now - self._last < EVERY:
            return
        self._last = now
        spent = now - self._since
        name, repository = self._phase
        rate = round(done / spent) if spent > 0 else 0
        self.event("progress", phase=name, repository=repository, done=done, total=total, rate=rate)

    def _close(self) -> None:
        if self._phase[0]:
            key = "/".join(part for part in self._phase if part)
            self.seconds[key] = round(self.seconds.get(key, 0) + self._clock() - self._since, 2)


def to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
