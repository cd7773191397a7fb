"""A repair of Keycloak that was carried out, or that nobody has agreed to yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ops.keycloak.repair.situation import Repair
    from ops.keycloak.repair.undo_plan import Entry
    from ops.stack.wanted import Wanted


class Unasked(Exception):
    """A repair that the operator has to agree to first."""

    def __init__(self, repair: Repair) -> None:
        super().__init__(repair.title)
        self.repair = repair


@dataclass
class Done:
    """One repair that was carried out. outcome: `kept`, `undone`."""

    repair: Repair
    wanted: Wanted | None
    """The release that was the current one before it."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    """What undoes it."""
    seconds: float = 0.0
    outcome: str = ""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "finding": self.repair.finding, "kind": self.repair.kind, "title": self.repair.title, "steps": self.steps,
            "seconds": round(self.seconds, 1), "outcome": self.outcome, "why": self.why,
        }  # fmt: skip
