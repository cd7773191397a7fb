"""Section 9: the host, as far as this project uses it."""

from __future__ import annotations

from collections.abc import Iterator

from ops.plan.walls.control import Found, control
from ops.plan.walls.facts import Facts, HostFiles


@control(
    "9.1",
    "The record of changes is whole",
    why="a line that is gone hides who did what",
    cure="inv audit.verify; docs/how-to/audit.md says what can be concluded",
    part="host",
)
def trail(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for finding in facts.host.trail:
            yield Found("audit.jsonl", finding, finding)
