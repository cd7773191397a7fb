"""Every service fails in every way. The right alert fires, no other one pages, all heals, and `inv status` names the cause.

Alerts are taken where they arrive: at webhooks of the test. Requests are counted by users of the test. What does not reach a
page within the time that an alert needs, since it healed before, is a line in the table and no failure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.drill.gameday import faults
from tests.drill.gameday.cases import (
    CASES,
    CUT,
    DISCONNECT,
    FREEZE,
    FULL,
    SLOW,
    STOP,
    USERS,
    Case,
    Outcome,
    concerns,
    tells,
    unrelated,
)
from tests.drill.gameday.faults import Fault
from tests.drill.gameday.observer import PAGER, TICKETS, Observer, Told, every
from tests.drill.gameday.users import Users
from tests.drill.stack import PATIENCE, Drill
from tests.smoke.live import eventually

STRIKES: dict[str, Fault] = {
    STOP: faults.stopped, FREEZE: faults.frozen, SLOW: faults.slow, CUT: faults.cut, DISCONNECT: faults.disconnected,
}  # fmt: skip
STATUS = ThreadPoolExecutor(max_workers=1)
"""Asks `inv status` beside the rest, which it would hold up on a busy host."""
ENDS = 300.0
"""Seconds until the last message about an alert has come; an alert on what users met in 5 minutes takes as long."""
UNSERVED = 180.0
LOOK_EVERY = 2.0
STATUS_EVERY = 8.0
HEALED_SECONDS = 420.0
QUICK, QUICK_OF = 60.0, {"prometheus": 300.0}
"""Seconds that a fault may last without a page: what is told within a minute needs a minute. That Prometheus is away is told by
the end of the heartbeat, within five."""


@contextmanager
def prepared(drill: Drill, case: Case) -> Iterator[Fault]:
    """The fault, ready to strike."""
    if case.fault != FULL:
        yield STRIKES[case.fault]
        return
    with faults.small_disks(drill, case.services) as disks:
        yield faults.full(disks)


class Round:
    """One case: what is seen from the moment at which it strikes."""

    def __init__(self, case: Case, observer: Observer, users: Users) -> None:
        self.case, self.observer, self.users = case, observer, users
        self.slots = [slot for service in case.services for slot in observer.drill.slots(service)]
        self.outcomes = {one: Outcome(case.fault, one, load=round(os.getloadavg()[0], 1)) for one in case.services}
        self.healed_at: dict[str, float] = {}
        self.started = observer.restarted(self.slots)
        self.asked, self.asking = 0.0, STATUS.submit(lambda: None)
        self.struck = time.time()

    def look(self) -> None:
        told = self.observer.told(PAGER, self.struck) + self.observer.told(TICKETS, self.struck)
        for service, one in self.outcomes.items():
            if one.paged is None and (page := self._page(service, told)):
                one.paged, one.by = page[0] - self.struck, page[1]
        missing = [service for service, one in self.outcomes.items() if one.named is None]
        if missing and self.asking.done() and time.time() - self.asked >= STATUS_EVERY:
            self.asked = time.time()
            self.asking = STATUS.submit(self._ask_status, missing)

    def _ask_status(self, missing: list[str]) -> None:
        for service in self.observer.status_names(missing):
            self.outcomes[service].named = time.time() - self.struck

    def _page(self, service: str, told: list[Told]) -> tuple[float, str] | None:
        mine = [(one.at, one.name.partition(":")[0]) for one in told if one.name in tells(service)]
        if "heartbeat" in tells(service) and (missed := self.observer.heartbeat_missed(self.struck)):
            mine.append((missed, "the heartbeat ends"))
        return min(mine, default=None)

    def note_health(self) -> bool:
        """Whether all of them are healthy by now."""
        for service in self.case.services:
            if service not in self.healed_at and not self.observer.ill(self.observer.drill.slots(service)):
                self.healed_at[service] = time.time()
        return len(self.healed_at) == len(self.case.services)

    @property
    def complete(self) -> bool:
        return all(one.paged is not None and one.named is not None for one in self.outcomes.values())

    def until_it_heals(self) -> float:
        """For what is to heal by itself; the time from which healing counts."""
        for _ in every(LOOK_EVERY, HEALED_SECONDS):
            self.look()
            if self.note_health():
                return self.struck
        pytest.fail(f"does not heal: {self.observer.ill(self.slots)}")

    def while_it_lasts(self) -> None:
        for _ in every(LOOK_EVERY, self.case.lasts):
            self.look()
            if self.complete:
                break

    def after(self, since: float) -> None:
        """Until everything is as before: health, users, the last message."""
        for _ in every(LOOK_EVERY, HEALED_SECONDS):
            if self.note_health():
                break
        else:
            pytest.fail(f"does not heal: {self.observer.ill(self.slots)}")
        eventually(self.users.unserved, UNSERVED)
        lost = self.users.failed(self.struck, time.time())
        for service, one in self.outcomes.items():
            last = max((each.at for each in lost), default=0.0) if service in USERS else 0.0
            one.healed = max(self.healed_at[service], last, since) - since
        for _ in every(LOOK_EVERY, ENDS):
            told = self.observer.told(PAGER, self.struck)
            self.look()
            if not self.observer.open():
                break
        else:
            pytest.fail(f"does not resolve: {self.observer.open()}")
        self._finish(since, told)

    def _finish(self, since: float, told: list[Told]) -> None:
        self.asking.result()
        began, ended = self.struck - 1, time.time()
        restarted = self.observer.restarted(self.slots)
        for service, one in self.outcomes.items():
            kinds = concerns(service, self.case.services)
            one.failed = sum(each.what in kinds for each in self.users.failed(began, ended))
            one.requests = sum(each.what in kinds for each in self.users.sent(began, ended))
            ends = [each.resolved for each in told if each.name in tells(service)]
            one.resolved = max(ends) - since if ends else None
            own = [slot for slot in self.slots if slot.startswith(service)]
            if not self.case.heals and any(restarted.get(slot) != self.started[slot] for slot in own):
                one.notes.append("restarted by the health supervisor")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_game_day(case: Case, observer: Observer, users: Users, outcomes: list[Outcome]) -> None:
    drill = observer.drill
    with prepared(drill, case) as fault:
        eventually(drill.unhealthy, PATIENCE)
        eventually(users.unserved, PATIENCE)
        eventually(lambda: ", ".join(observer.open()), ENDS)
        play = Round(case, observer, users)
        try:
            with ExitStack() as struck:
                for slot in play.slots:
                    struck.enter_context(fault(drill, slot))
                if case.heals:
                    since = play.until_it_heals()
                else:
                    play.while_it_lasts()
            if not case.heals:
                since = time.time()
                play.healed_at.clear()
            play.after(since)
        except KeyboardInterrupt:
            play.outcomes.clear()
            raise
        finally:
            told = observer.told(PAGER, play.struck)
            also = sorted({one.name for one in told} | {f"{one.name} (warning)" for one in observer.told(TICKETS, play.struck)})
            outcomes.extend(play.outcomes.values())
            print(f"\n{case.name}: told {also}")
            for one in play.outcomes.values():
                print("   ", one)
            for asked in play.users.failed(play.struck, time.time())[:4]:
                print("   ", asked)
    strange = unrelated(case, [one.name for one in told])
    assert not strange, f"unrelated: {strange}"
    for one in play.outcomes.values():
        unnoticed = one.healed is not None and (one.healed < QUICK_OF.get(one.service, QUICK) if case.heals else not one.failed)
        assert one.paged is not None or unnoticed, f"{one.service}: nobody was told of {case.fault}"
        assert one.named is not None or unnoticed, f"{one.service}: inv status did not name it"
