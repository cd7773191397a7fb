"""A change that is under way is announced to Alertmanager: alerts that the replacement of a container explains notify nobody.

By silences: Alertmanager keeps them over its own replacement, `inv alerts` shows them with who gave the command, and they end
by themselves: a killed command mutes for minutes, not for ever. docs/adr/0054-alert-receivers.md
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.plan import Plan
from ops.core.process import account
from ops.stack.render import next_of

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay
    from ops.monitoring.api import Alert, Matcher, Monitoring
    from ops.stack.model import Stack

EXPLAINED = ("BackendDependencyDown", "ContainerUnhealthy", "DependencyDown", "TargetDown")
"""Alerts of a service that the replacement of its containers explains. That one crashes, or that users notice, it does not."""
OUTAGE = ("ErrorRatioHigh", "SiteDown")
"""Explained as well by commands that are announced to take the site down."""
OUTAGES = ("restore", "start", "stop")
LASTS, EVERY, AFTER = 180.0, 45.0, 90.0
"""Seconds: how long a silence lasts unless it is extended, how often that happens, and how long it lasts when the change has
ended: until Prometheus has seen the new containers, and Alertmanager has heard it."""


def services_of(plan: Plan, stack: Stack) -> tuple[str, ...]:
    """Services whose containers a plan stops, starts or replaces."""
    known = {
        name: service.name for service in stack.services.values()
        for slot in service.reserved_slots() for name in (slot, next_of(slot))
    }  # fmt: skip
    return tuple(sorted({known[slot] for step in plan.steps for slot in step.disturbs if slot in known}))


def explained(verb: str, services: Collection[str], firing: Collection[Alert]) -> Mapping[tuple[str, ...], list[str]]:
    """Names of alerts -> the services of which these are silenced.

    What fires before the change is not explained by it: it is left out, so that its end is heard.
    """
    names = (*EXPLAINED, *(OUTAGE if verb in OUTAGES else ()))
    before = {(one.name, one.labels.get("service", "")) for one in firing}
    found: dict[tuple[str, ...], list[str]] = {}
    for service in services:
        if own := tuple(name for name in names if (name, service) not in before):
            found.setdefault(own, []).append(service)
    return found


def touched(change: UnderWay) -> tuple[str, ...]:
    """Services whose containers a change touches; none before the first release, which nothing monitors."""
    return services_of(change.plan, change.project.stack) if change.project.state.current.exists() else ()


class Announcement:
    """The silences of one change, extended until it ends."""

    def __init__(self, monitoring: Monitoring, verb: str, services: Collection[str]) -> None:
        self.monitoring, self.verb, self.services = monitoring, verb, services
        self.ended = threading.Event()
        self.silences: dict[tuple[Matcher, ...], str] = {}
        self.began = time.time()

    def begin(self) -> None:
        """Raises OpsError where Alertmanager does not answer."""
        from ops.monitoring.api import Matcher

        groups = explained(self.verb, self.services, self.monitoring.alerts())
        matchers = (
            (Matcher("alertname", "|".join(names), regex=True), Matcher("service", "|".join(services), regex=True))
            for names, services in groups.items()
        )
        self.silences = self.silences or dict.fromkeys(matchers, "")
        self._until(time.time() + LASTS)

    def _until(self, ends: float) -> None:
        for matchers, known in self.silences.items():
            why = f"inv {self.verb} is under way"
            self.silences[matchers] = self.monitoring.silence(matchers, self.began, ends, account(), why, known)

    def extend(self) -> None:
        """Alertmanager may be away, itself replaced, or not yet started."""
        while not self.ended.wait(EVERY):
            with suppress(OpsError):
                self.begin() if not self.silences else self._until(time.time() + LASTS)

    def end(self) -> None:
        """What cannot be shortened ends by itself a little later."""
        with suppress(OpsError):
            self._until(time.time() + AFTER)


@contextmanager
def announce(change: UnderWay) -> Iterator[None]:
    """Tell Alertmanager which services a plan changes while it is executed. That it fails is worth a note, no more."""
    from ops.monitoring.api import Monitoring

    services = touched(change)
    if not services:
        yield
        return
    announcement = Announcement(Monitoring.of(change.project), change.plan.verb, services)
    try:
        announcement.begin()
    except OpsError as problem:
        change.note(f"the change is not announced to the monitoring: {problem}; alerts may come of it")
    thread = threading.Thread(target=announcement.extend, name="announcement", daemon=True)
    thread.start()
    try:
        yield
    finally:
        announcement.ended.set()
        thread.join()
        announcement.end()
