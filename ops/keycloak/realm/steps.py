"""The step that makes the live realm as declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class ApplyRealm(Step):
    """Make the live realm as declared."""

    realm: str = ""
    """The declaration, as YAML; its placeholders are filled, its secrets are references."""
    changes: tuple[str, ...] = ()
    """What differs, in words; empty where the live realm could not be read yet."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Secret -> version that it is to have."""
    deletions: bool = False
    """Whether what is listed under `prune` may go."""

    def details(self) -> tuple[str, ...]:
        return self.changes

    def run(self, execution: Execution) -> None:
        from ops.keycloak.realm.declaration import read_realm
        from ops.keycloak.realm.live import Realm, apply_realm

        execution.touch()
        realm = Realm(execution.project, read_realm(self.realm), self.versions, execution.allocation.ports["ops"])
        apply_realm(realm, execution.reporter(self), deletions=self.deletions)
