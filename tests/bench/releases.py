"""Deploys and rollbacks of a changed backend while users are at work: seconds, and what the users pay.

Two clones of the checkout are two versions of the product, their images built beforehand. The users are a process of their
own (ops/deploy/prober.py): reads and writes over kept-alive connections, a WebSocket, a slow download. Each request is sent
when it is due, so a server that stalls delays every request of that time.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ops.core.errors import OpsError
from ops.store.releases import current_number
from tests.bench import commands, users
from tests.bench.figures import Figure
from tests.bench.users import Cost, Version
from tests.drill.clone import Load
from tests.drill.clone import load as at_work
from tests.drill.stack import Drill


@contextmanager
def versions() -> Iterator[tuple[Version, Version, Path]]:
    """Two versions of the product, the older one deployed, and a folder for more. Afterwards this checkout's own version is
    deployed again."""
    with tempfile.TemporaryDirectory(prefix="cc03-bench-") as folder:
        root = Path(folder)
        old, new = (Version.make(root / name, f"bench-{name}") for name in ("old", "new"))
        try:
            old.deploy()
            yield old, new, root
        finally:
            commands.inv("deploy", "--yes")


def releases(rounds: int, rate: int) -> Iterator[Figure]:
    """Needs a live stack; leaves it deployed."""
    stack = Drill()
    with versions() as (old, new, root):
        broken = Version.make(root / "broken", "bench-broken", users.ends_by_itself)
        note = f"{users.load_average():.1f} before; the users and the stack are part of it"
        with at_work(stack, root, rate) as load:
            costs = alternate(load, (new.deploy, old.deploy), rounds)
            yield from told("deploy of a changed backend", costs, 20.0, 2.0)
            orders = [partial(new.inv, "rollback", "--to", number, "--yes") for number in both_deployed(stack, old, new)]
            yield from told("rollback", alternate(load, orders, rounds), 15.0)
            plans = [new.inv("deploy", "--plan")[0] for _ in range(5)]
            yield Figure("deploy --plan under load", statistics.median(plans), "s", 2.0, note=users.told(plans))
            seconds, said = broken.inv("deploy", "--yes", code=1)
            if "serves as before, reverted in" not in said:
                raise OpsError("the release that is no good", f"was not put back: {said[-300:]}", "inv releases")
            yield Figure("broken release, until put back", seconds, "s", note="its process ends 5 s after its start")
            yield Figure("load average", users.load_average(), "", note=note)
        yield failures(load)


def both_deployed(stack: Drill, old: Version, new: Version) -> list[str]:
    """The numbers of both releases, the older one first; the newer one runs."""
    numbers = []
    for version in (old, new):
        version.deploy()
        numbers.append(str(current_number(stack.project.state)))
    return numbers


def alternate(load: Load, orders: Sequence[Callable[[], object]], rounds: int) -> list[Cost]:
    """One order after the other, each watched."""
    return [users.watched(load, orders[number % len(orders)]) for number in range(rounds)]


def told(what: str, costs: Sequence[Cost], seconds: float, ratio: float | None = None) -> Iterator[Figure]:
    """What changes of one kind took and cost, beside what is promised."""
    took = [cost.seconds for cost in costs]
    yield Figure(f"{what} under load", statistics.median(took), "s", seconds, note=users.told(took))
    before, during = [cost.before_ms for cost in costs], [cost.during_ms for cost in costs]
    yield Figure(
        f"{what}: p99 before",
        statistics.median(before),
        "ms",
        note=f"of {users.BEFORE_SECONDS:.0f} s; {users.told(before, 'ms')}",
    )
    failed = sum(cost.failed for cost in costs)
    note = f"{users.told(during, 'ms')}; {failed:,} failed"
    yield Figure(f"{what}: p99 during", statistics.median(during), "ms", note=note)
    ratios = [cost.ratio for cost in costs]
    yield Figure(
        f"{what}: p99 during / before",
        statistics.median(ratios),
        "",
        ratio,
        note=f"of the same change; {users.told(ratios, '')}",
    )


def failures(load: Load) -> Figure:
    """To be asked once the load has ended."""
    lost = users.failed(load)
    note = f"of {len(load.samples):,}, over all of these deploys, rollbacks and the broken release"
    return Figure("failed requests", len(lost), "", 1, note="; ".join(filter(None, (note, users.kinds_of(lost)))))
