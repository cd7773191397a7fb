"""What other features do about restored data. ops/composition.py names them; a restore knows none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.project import Project


class Participant:
    """Does nothing where a feature does not say otherwise."""

    def agree(self, service: str) -> Sequence[Step]:
        """Done once a service runs on restored data, before its clients start: that may be from before a rotation."""
        return ()

    def prove(self, project: Project, deadline: float, report: Callable[[str], None]) -> None:
        """Raises OpsError where users are not served within so many seconds."""


@cache
def participants() -> tuple[Participant, ...]:
    """Those that ops/composition.py names."""
    from ops.composition import in_restores

    found: tuple[Participant, ...] = in_restores()
    return found


def agreed(service: str) -> list[Step]:
    """What the participants add once a service runs on restored data."""
    return [step for one in participants() for step in one.agree(service)]
