"""What a step is given when it runs: the project, its engine, the release that is wanted, and what is measured meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ops.composition import AFTER_STEP, LOG_ERRORS, create_as
from ops.core.plan import Step
from ops.engines.engine import Engine
from ops.project import Project, targets_of
from ops.stack.render import container_name
from ops.stack.wanted import Wanted


class Execution:
    """One run of a plan. Steps of it run side by side, in threads.

    `report` receives a line for whoever watches (build progress). `wanted`: the release that is applied, where that is not what
    the checkout says. `first_touch`: called once, before the first step that users could notice.
    """

    def __init__(
        self, project: Project, report: Callable[[str, str], None] = lambda key, text: None, wanted: Wanted | None = None,
        first_touch: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.project = project
        self.host = project.host
        self.state = project.state
        self.errors = LOG_ERRORS
        self.report = report
        self.stack = wanted.stack if wanted else project.stack
        self.images = wanted.images if wanted else project.images
        self.allocation = wanted.allocation if wanted else project.allocation
        self.gaps: dict[str, float] = {}
        """Slot -> seconds from the order to stop its old container until the new one was good."""
        self.away: dict[str, list[tuple[float, float]]] = {}
        """Slot -> beginning and end of each time without it, in seconds since the epoch."""
        self._down_since: dict[str, float] = {}
        self._first_touch = first_touch
        self._touched = False
        self._guard = threading.Lock()

    @property
    def engine(self) -> Engine:
        return self.project.engine

    @cached_property
    def targets(self) -> dict[str, Any]:
        """Slot -> what health is asked of."""
        return {target.slot: target for target in targets_of(self.state, self.stack, self.allocation, surge=True)}

    def do(self, step: Step) -> None:
        """Run a step, then what features have to do after each one, before the next one begins."""
        step.run(self)
        for hook in AFTER_STEP:
            hook(self.state.root)

    def create(self, name: str, part: Mapping[str, Any], slots: Sequence[str]) -> None:
        """Create containers, as `Engine.create` does, with their secrets as this host keeps them."""
        self.engine.create(name, create_as(self.state, part), slots)

    def name(self, slot: str) -> str:
        """The engine's name of a container."""
        return container_name(self.project.name, slot)

    def reporter(self, step: Step) -> Callable[[str], None]:
        """Takes lines about how far a step is."""
        return lambda text: self.report(step.key, text)

    def touch(self) -> None:
        """Called before a container that runs, or is about to, is touched."""
        with self._guard:
            if not self._touched:
                self._first_touch()
                self._touched = True

    def begin_gap(self, slot: str) -> None:
        """From now on its users do without a container, until `end_gap`."""
        self._down_since.setdefault(slot, time.monotonic())

    def end_gap(self, slot: str) -> None:
        """A container is good. Without effect where it was not away."""
        if slot in self._down_since:
            seconds, now = time.monotonic() - self._down_since.pop(slot), time.time()
            self.gaps[slot] = round(seconds, 2)
            self.away.setdefault(slot, []).append((now - seconds, now))
