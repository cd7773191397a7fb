"""Which new containers nginx cannot reach before it is replaced itself: those on networks that it is yet to join. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ops.stack.model import EDGE, Seen, Service
from ops.stack.wanted import Wanted


def unreached(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> frozenset[str]:
    """Slots whose wanted container shares no network with the nginx that runs. No proof through nginx can succeed there: these
    are replaced without one, and nginx follows in the same plan.

    Parameters
    ----------
    services: those that the plan may change. Where nginx is not among them, none is left out: the proof fails and users keep
    what they have.
    """
    names = {service.name for service in services}
    holder = wanted.stack.services[EDGE].shares or EDGE
    present = seen.containers.get(holder)
    if holder not in names or present is None or not present.networks:
        return frozenset()
    return frozenset(
        slot for name in names if wanted.stack.services[name].smoke
        for slot in wanted.stack.services[name].slots()
        if slot in seen.containers and not present.networks & set(wanted.compose["services"][slot]["networks"])
    )  # fmt: skip
