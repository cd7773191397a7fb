"""Steps that change the keys that the realm signs with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class CreateKey(Step):
    """Have the realm sign with a new key; the previous one continues to verify."""

    provider: str = ""
    """Kind of Keycloak's key provider."""
    name: str = ""
    priority: int = 100
    like: str = ""
    """Id of the provider whose size and algorithm it takes over."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.rotate import rotation as rotate

        rotate.RealmKeys(execution.project).create(self)


@dataclass(frozen=True)
class VerifyKeys(Step):
    """See that the realm signs with the keys of these names, and that everybody can fetch them and all others."""

    names: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.keycloak.rotate import rotation as rotate

        rotate.RealmKeys(execution.project).verify(self)


@dataclass(frozen=True)
class RetireKey(Step):
    """Have a key sign nothing any more, and go on to verify what it has signed."""

    identity: str = ""
    name: str = ""
    """Its name from now on, which says until when it is needed."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.rotate import rotation as rotate

        rotate.RealmKeys(execution.project).retire(self)


@dataclass(frozen=True)
class RemoveKey(Step):
    """Remove a retired key of which everything that it has signed has expired."""

    identity: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.rotate import rotation as rotate

        rotate.RealmKeys(execution.project).remove(self.identity)
