"""What a pattern of Keycloak's log is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

START, SERVING = "start", "serving"


@dataclass(frozen=True)
class Pattern:
    """when: `start` lines count only while Keycloak is not ready; `serving` ones always, while they are recent."""

    mode: str
    regex: str
    when: str
    source: str
    also_quiet: bool = False
    """Whether a line of level INFO counts."""
    times: int = 1
    """Lines that it takes: what one user, or one attacker, can cause is no finding."""

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.regex, re.IGNORECASE)
