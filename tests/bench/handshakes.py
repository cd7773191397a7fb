"""Full TLS handshakes: on the public port, as new users make them, and on a backend, as nginx makes them.

The load comes from `openssl s_time` on the host, one process a core; it shares the cores with what it measures, and a client's
part of a handshake costs about as much as the server's: the figures are lower bounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ops.core.process import Result, run
from ops.project import open_project
from tests.bench.figures import Figure
from tests.smoke.live import Live

SECONDS = 10


def read(answer: Result) -> float:
    """Handshakes a second, as s_time counts them by the clock. Raises ValueError where it says something else."""
    found = re.search(r"(\d+) connections in (\d+) real seconds", answer.stdout)
    if not found:
        raise ValueError(f"not understood: {(answer.stdout + answer.stderr)[-500:]}")
    return int(found[1]) / int(found[2])


def per_second(live: Live, port: int, under: Sequence[str] = ()) -> float:
    argv = (
        *under,
        "openssl",
        "s_time",
        "-connect",
        f"127.0.0.1:{port}",
        "-new",
        "-time",
        str(SECONDS),
        "-CAfile",
        str(live.ca),
    )
    processes = os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=processes) as pool:
        return sum(read(answer) for answer in pool.map(lambda _: run(argv, timeout=SECONDS + 30, ok=None), range(processes)))


def handshakes() -> Iterator[Figure]:
    live = Live(open_project())
    note = f"each with a new key exchange and a signature; {os.cpu_count()} clients"
    yield Figure("TLS handshakes, public port", per_second(live, live.ports["https"]), "/s", note=note)
    slot = live.slots("backend")[0]
    inside = ("nsenter", "--net", "--target", str(live.pid(slot)))
    yield Figure("TLS handshakes, one backend", per_second(live, 8000, inside), "/s", note=note)
