"""Keycloak as a part of a restore: its accounts get their present secrets, and a user logs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ops.backup.restore.participant import Participant
from ops.core.plan import Step
from ops.keycloak.restore.steps import AgreeSecrets

SERVICE = "keycloak"


class Keycloak(Participant):
    def agree(self, service: str) -> Sequence[Step]:
        title = "set the current secrets of Keycloak's clients and users"
        return [AgreeSecrets("agree", title)] if service == SERVICE else []

    def prove(self, project: Any, deadline: float, report: Callable[[str], None]) -> None:
        from ops.keycloak.probe.verify import verify

        verify(project, deadline, report)
