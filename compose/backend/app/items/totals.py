"""How many items a search finds: counted once for everybody who asks, until a change can have altered it.

A page reads 25 rows, its total all rows that are found. Each new item has every open browser fetch its list again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app import metrics

KEPT_SECONDS = 5.0
"""How old a total gets that no change is known of: changes by SQL, and those of other replicas while Redis is away."""
KEPT_SEARCHES = 200


@dataclass(frozen=True)
class _Count:
    task: asyncio.Future[int]
    until: float

    def usable(self, now: float) -> bool:
        """Under way, or done not long ago."""
        if not self.task.done():
            return True
        return not self.task.cancelled() and self.task.exception() is None and now < self.until


class Totals:
    """Of one replica.

    count: counts what a search finds, in the database. clock: seconds.
    """

    def __init__(self, count: Callable[[str], Awaitable[int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    def changed(self, action: str | None) -> None:
        """After the commit of a change: `created`, `updated` or `deleted`; None where anything may have changed."""
        everything = self._counts.get("") if action == "updated" else None
        # A count that is under way may have begun before the change: it is for those alone who wait for it already.
        self._counts = {"": everything} if everything else {}

    async def of(self, search: str, offset: int, limit: int, found: int) -> int:
        """The total to a page of which `found` items were just read. At least what the page itself shows."""
        if found < limit and (found or not offset):
            metrics.TOTALS.labels("unneeded").inc()
            return offset + found
        count = self._counts.get(search)
        outcome = "kept" if count and count.usable(self._clock()) else "counted"
        metrics.TOTALS.labels(outcome).inc()
        if not count or outcome == "counted":
            count = self._begin(search)
        # Shielded: others wait for the same count.
        return max(await asyncio.shield(count.task), offset + found)

    def _begin(self, search: str) -> _Count:
        self._counts.pop(search, None)
        if len(self._counts) >= KEPT_SEARCHES:
            self._counts.pop(next(iter(self._counts)))
        count = _Count(asyncio.ensure_future(self._count(search)), self._clock() + KEPT_SECONDS)
        self._counts[search] = count
        return count
