"""What other features add to the plan of a release. ops/composition.py names them; a deploy knows none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ops.core.plan import Change, Plan, Step
from ops.stack.model import Seen, Service
from ops.stack.wanted import Wanted

if TYPE_CHECKING:
    from ops.project import Project


@dataclass(frozen=True)
class Rules:
    """What may happen to data that a participant moves along with the release.

    `with_database`: the operator said that an older release gets its data back, whatever is lost. `own_since`: stamp of this
    command's beginning, where it reverts what it has changed itself; copies of data from then on are its own.
    """

    with_database: bool = False
    own_since: str = ""


FORWARD = Rules()
"""Up, never back."""
Read = Callable[[Wanted, Seen], Seen]


class Participant:
    """Adds nothing where a feature does not say otherwise. Methods without `project` only compute.

    `only`: the one service that may change, or the name of a participant's own part; None: everything may.
    """

    def reading(self, project: Project, wanted: Wanted, only: str | None) -> AbstractContextManager[Read]:
        """Reads what the engine does not know, while the engine is read; what the block yields adds it to that."""
        return nullcontext(lambda wanted, seen: seen)

    def refuse(self, project: Project, seen: Seen) -> None:
        """Raises HostLacks where the checkout must not be deployed on this host."""

    def ground(self, wanted: Wanted, seen: Seen, services: Sequence[Service], only: str | None) -> Sequence[Step]:
        """Done before any volume is created."""
        return ()

    def files(self, wanted: Wanted, seen: Seen, service: Service, owner: int) -> Sequence[Step]:
        """Write what containers of a service mount, for this uid. Those that stay take it up as they do configuration."""
        return ()

    def before(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        """Done before the first container of a service is replaced."""
        return ()

    def between(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        """Done while no container of a service runs."""
        return ()

    def behind(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        """Done once all containers of a service are new and healthy."""
        return ()

    def applied(self, wanted: Wanted, seen: Seen, only: str | None) -> Mapping[str, Step]:
        """Service -> a step that configures it once it runs, before any service that needs it is touched."""
        return {}

    def applied_after(self, wanted: Wanted, steps: Iterable[Step]) -> Sequence[Step]:
        """Those of all other steps that the ones of `applied` wait for."""
        return ()

    def losses(self, wanted: Wanted, seen: Seen, only: str | None) -> Sequence[str]:
        """What its steps delete: the operator confirms it."""
        return ()

    def changes(self, steps: Iterable[Step]) -> Sequence[Change]:
        """What its steps mean for users."""
        return ()

    def served(self, project: Project) -> None:
        """Removes what nothing needs any more, once a release has served."""

    def completed(self, project: Project, plan: Plan, wanted: Wanted, seen: Seen, rules: Rules) -> Plan:
        """The whole plan with what depends on data that has to be read for it. Raises OpsError where it must not be done."""
        return plan


@cache
def participants() -> tuple[Participant, ...]:
    """Those that ops/composition.py names, in the order of their steps."""
    from ops.composition import in_deploys

    found: tuple[Participant, ...] = in_deploys()
    return found


def served(project: Project) -> None:
    """Have each participant remove what nothing needs any more."""
    for one in participants():
        one.served(project)


def gathered(ask: Callable[[Participant], Sequence[Step]]) -> list[Step]:
    """What each participant answers, in their order."""
    return [step for one in participants() for step in ask(one)]
