"""What a command is going to do: steps, in an order, and what they mean for users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One change of the host. `after` names the steps (by key) that must have succeeded before."""

    key: str
    title: str
    after: tuple[str, ...] = ()

    def details(self) -> tuple[str, ...]:
        """What a reader of the plan wants to know besides the title, a line each."""
        return ()

    def run(self, execution: Any) -> None:
        """Do it. execution: the project and its host, as `ops.execution.Execution` has them. Raises OpsError where it fails."""
        raise TypeError(f"no executor for {type(self).__name__}")


@dataclass(frozen=True)
class Change:
    """What a plan means for one service and for those who use it."""

    service: str
    action: str
    """`create`, `reload`, `roll` (nobody notices), `recreate`, `start`, `restart`, `remove` or `apply` (the realm)."""
    why: str
    gap_seconds: float = 0.0
    """How long its users have to do without it; 0 where another container serves meanwhile."""
    whom: str = ""
    every_request: bool = False
    """Whether every request to the site fails meanwhile; for most services that is not so, or requests wait for them."""

    @property
    def stops_requests(self) -> bool:
        """Whether it is announced that requests to the site fail meanwhile."""
        return self.gap_seconds > 0 and self.every_request


@dataclass(frozen=True)
class Plan:
    """What a command will do. An empty plan means that there is nothing to do."""

    verb: str
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    destroys: tuple[str, ...] = ()
    """What cannot be brought back afterwards; not empty means that the command asks first."""
    violations: tuple[str, ...] = ()
    """Policies of this repository that the release violates."""
    exemptions: tuple[str, ...] = ()
    """Exemptions from them that the running release does not have."""
    stops_requests: bool = False
    """Whether a note announces that requests to the site fail throughout, whichever services are replaced."""
