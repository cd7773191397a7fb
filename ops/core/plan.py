"""What a command is going to do: steps, in an order, and what they mean for users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

STAMP = "%Y%m%dT%H%M%SZ"
"""UTC, as strftime(3) writes it: names sort by age."""


@dataclass(frozen=True)
class Step(ABC):
    """One change of the host. Its key is its identity: there is one step of a key in a plan."""

    key: str
    title: str
    after: tuple[Step, ...] = field(default=(), repr=False, compare=False)
    """Steps that must have succeeded before. Neither shown nor compared: each names its own predecessors in turn."""

    @property
    def after_keys(self) -> tuple[str, ...]:
        return tuple(step.key for step in self.after)

    def details(self) -> tuple[str, ...]:
        """What a reader of the plan wants to know besides the title, a line each."""
        return ()

    @property
    def disturbs(self) -> Collection[str]:
        """Slots whose containers do not answer for a while because of it."""
        return ()

    @abstractmethod
    def run(self, execution: Any) -> None:
        """Do it. execution: the project and its host, as `ops.execution.Execution` has them. Raises OpsError where it fails."""


@dataclass(frozen=True)
class OfContainer(Step):
    """A step that stops, starts or replaces the container of a slot."""

    slot: str = ""

    @property
    def disturbs(self) -> tuple[str, ...]:
        return (self.slot,)


@dataclass(frozen=True)
class Described(Step):
    """What a command does itself, without the executor: it stands in a plan for the audit log."""

    def run(self, execution: Any) -> None:
        raise NotImplementedError(f"{self.title}: the command does this itself")


def linked(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps, each waiting for those of its predecessors that are among them, as they are among them.

    For a plan whose steps were chosen from more, or changed after others referred to them.
    """
    planned = {step.key: step for step in steps}
    found: dict[str, Step] = {}

    def own(key: str) -> Step:
        if key not in found:
            found[key] = planned[key]  # for steps that wait for each other
            after = dict.fromkeys(one for one in planned[key].after_keys if one in planned)
            found[key] = replace(planned[key], after=tuple(map(own, after)))
        return found[key]

    return tuple(map(own, planned))


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
