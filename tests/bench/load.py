"""Reads of the API: straight from the backend's containers, and through nginx and TLS, in turn.

The load comes from h2load (`apt-get install nghttp2-client`). It runs on the host, so it shares the cores with what it
measures, and its own share of TLS counts against the way through nginx: the ratio is a lower bound. Both ways use HTTP/1.1
with keep-alive and the same number of connections, spread evenly over the backend's containers.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.core.process import Result, run
from ops.project import open_project
from tests.bench.figures import Figure
from tests.smoke.accounts import Account, Accounts
from tests.smoke.conftest import item_input
from tests.smoke.live import Live

CONNECTIONS = 32
SECONDS = 10
WARM_UP = 2
ITEMS = 50
PATH = "/api/v1/items?limit=20"
"""What the product's first page asks for: one page of a list, from the database."""


@dataclass(frozen=True)
class Run:
    """failed: requests without an answer, or with another one than success."""

    per_second: float
    failed: int


def h2load(url: str, headers: Sequence[str], *, connections: int, more: Sequence[str] = (), under: Sequence[str] = ()) -> Run:
    flags = ("--h1", "-t", "1", "-c", str(connections), "-D", f"{SECONDS}s", "--warm-up-time", f"{WARM_UP}s", *more)
    # The token is an argument here; it belongs to a user that lives for minutes on a stack that is removed.
    argv = (*under, "h2load", *flags, *(part for header in headers for part in ("-H", header)), url)
    return read(run(argv, timeout=SECONDS + WARM_UP + 30))


def read(answer: Result) -> Run:
    """h2load's summary. Raises ValueError where it is not one."""
    done = re.search(
        r"requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, \d+ failed, (\d+) errored, (\d+) timeout", answer.stdout
    )
    codes = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", answer.stdout)
    if not done or not codes:
        raise ValueError(f"not understood: {answer.stdout[-500:]}")
    return Run(int(done[1]) / SECONDS, sum(map(int, (*done.groups()[1:], *codes.groups()))))


def through_nginx(live: Live, headers: Sequence[str], more: Sequence[str] = ()) -> Run:
    target = f"https://{live.domain}:{live.ports['https']}{PATH}"
    local = () if live.domain == "localhost" else ("--connect-to", f"127.0.0.1:{live.ports['https']}")
    return h2load(target, headers, connections=CONNECTIONS, more=(*local, *more))


def straight(live: Live, headers: Sequence[str]) -> Run:
    """One generator inside the network of each container, side by side; their sum."""
    slots = live.slots("backend")

    def one(slot: str) -> Run:
        inside = ("nsenter", "--net", "--target", str(live.pid(slot)))
        return h2load(f"https://127.0.0.1:8000{PATH}", headers, connections=CONNECTIONS // len(slots), under=inside)

    with ThreadPoolExecutor(max_workers=len(slots)) as pool:
        runs = list(pool.map(one, slots))
    return Run(sum(r.per_second for r in runs), sum(r.failed for r in runs))


@contextmanager
def reader(live: Live) -> Iterator[Account]:
    """A user with something to read; both are removed afterwards."""
    accounts = Accounts(live)
    try:
        admin = accounts.create("admin")
        made = [admin("POST", "/items", json=item_input()).json()["id"] for _ in range(ITEMS)]
        yield accounts.create("viewer")
        for identity in made:
            admin("DELETE", f"/items/{identity}")
    finally:
        accounts.remove()


def _processor_times() -> tuple[int, int]:
    """(idle, all) of every core since the boot, in ticks."""
    times = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)


def _quantile(milliseconds: Sequence[float], share: float) -> float:
    return milliseconds[min(len(milliseconds) - 1, int(share * len(milliseconds)))]


def at_half(live: Live, headers: Sequence[str], maximum: float) -> Iterator[Figure]:
    """Latency at half of the maximum: requests start by the clock, not when the one before has ended."""
    # Twice the connections: then nearly every request finds an idle one at its time.
    connections = 2 * CONNECTIONS
    rate = maximum / 2 / connections
    target = f"https://{live.domain}:{live.ports['https']}{PATH}"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests"
        more = ("--rps", f"{rate:.3f}", "--log-file", str(log))
        done = h2load(target, headers, connections=connections, more=more)
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    took = sorted(int(row[2]) / 1000 for row in rows)
    asked = rate * connections
    note = f"{done.per_second:.0f} of {asked:.0f} asked requests/s, {done.failed} failed"
    yield Figure("API at half of the maximum, p50", _quantile(took, 0.5), "ms", note=note)
    yield Figure("API at half of the maximum, p99", _quantile(took, 0.99), "ms", 50.0, note=note)


def load(rounds: int) -> Iterator[Figure]:
    live = Live(open_project())
    with reader(live) as user:
        headers = (f"Authorization: Bearer {user.token}",)
        idle_before, all_before = _processor_times()
        pairs = [(straight(live, headers), through_nginx(live, headers)) for _ in range(rounds)]
        idle_after, all_after = _processor_times()
        direct = statistics.median(pair[0].per_second for pair in pairs)
        proxied = statistics.median(pair[1].per_second for pair in pairs)
        failed = sum(one.failed for pair in pairs for one in pair)
        note = f"GET {PATH}, {CONNECTIONS} connections, median of {rounds}, in turn"
        yield Figure("API straight to the backend", direct, "requests/s", note=f"{note}; {len(live.slots('backend'))} replicas")
        yield Figure("API through nginx and TLS", proxied, "requests/s", note=note)
        ratio = statistics.median(100 * pair[1].per_second / pair[0].per_second for pair in pairs)
        yield Figure("API through nginx and TLS / straight", ratio, "%", 85.0, at_least=True, note="of the same pair, median")
        spare = 100 * (idle_after - idle_before) / (all_after - all_before)
        yield Figure(
            "processors idle meanwhile", spare, "%", note="near 0: both ways are bound by the cores, which the load shares"
        )
        yield Figure("API requests not answered by 200", failed, "", 1, note="of all of these runs")
        headers = (f"Authorization: Bearer {user.token}",)
        yield from at_half(live, headers, proxied)
