"""Users of every kind at once, while what serves them is changed beneath them, and what they met."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.state import State
from ops.deploy.measure import WEBSOCKET, summarise
from ops.deploy.measurement import Measurement, measured
from tests.drill.conftest import Two
from tests.drill.flood import failed, flood
from tests.drill.held import Held, sessions
from tests.drill.keycloak.logins import Tally, people
from tests.drill.stack import Drill
from tests.smoke.live import Live

RATE = 200
"""Requests a second of kept connections, beside the prober's, the people's and the held sessions'."""
BASELINE_SECONDS = 2.0
LONGEST = 3600.0
"""Seconds; the prober ends by itself then, whatever has become of the drill."""


@dataclass
class Load:
    """What everybody met. `users`: the kept connections, known once they have ended. `began`: seconds since 1970."""

    users: dict[str, Any]
    people: Tally
    held: Held
    site: Measurement
    began: float

    def assert_nobody_noticed(self) -> None:
        assert failed(self.users) == 0, self.users
        self.people.assert_nobody_noticed()
        self.held.assert_nobody_noticed()
        summary = summarise(self.site.samples, self.began, time.time())
        assert summary["failed"] == 0 and summary["requests"] > 0, summary
        assert any(sample.kind == WEBSOCKET for sample in self.site.samples)


@contextmanager
def load(stack: Drill, live: Live, two: Two, *, ca: Path | None = None, state: State | None = None) -> Iterator[Load]:
    """Kept connections; held sessions; people who log in; the prober with its WebSocket and download. All at work before the
    block begins.

    ca: all that the kept connections trust; by default, what any client of the site does.
    state: the folder that the prober writes to; by default the project's own, which a command's own prober writes to as well.
    """
    project = stack.project
    with ExitStack() as within:
        tally = within.enter_context(people(live, two))
        held = within.enter_context(sessions(stack, live))
        users = within.enter_context(flood(live.ports["https"], ca or live.ca, "kept", RATE))
        site = within.enter_context(measured(project.settings, project.ports, state or project.state, LONGEST))
        site.baseline(BASELINE_SECONDS)
        yield Load(users, tally, held, site, time.time())
