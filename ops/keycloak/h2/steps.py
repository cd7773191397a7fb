"""Steps that move Keycloak from H2 to PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.files import remove_clear
from ops.core.plan import Step
from ops.core.process import until

if TYPE_CHECKING:
    from ops.execution import Execution

DUMP_SECONDS = 3600.0
"""Until a dump or a restore is given up: 120 MB took 17 s on two busy cores."""


@dataclass(frozen=True)
class ExportRealms(Step):
    """Export every realm out of the copy of an H2 database, in a throw-away container without a network."""

    folder: str = ""
    """Within the state folder: the copy is below it, and the export gets there."""
    user: str = ""
    """H2's user, where it has a name."""
    tag: str = ""
    """Image with Keycloak's whole distribution, which is built up to that stage."""
    context: str = ""
    args: tuple[tuple[str, str], ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.keycloak.h2 import database as h2

        h2.export(execution.host, self, execution.reporter(self))


@dataclass(frozen=True)
class ImportRealms(Step):
    """Import exported realms into an empty database beside the present one, and count what has arrived."""

    folder: str = ""
    service: Mapping[str, object] | None = None
    """The compose mapping of Keycloak's container in the release that runs."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Kind -> number that there has to be afterwards."""
    database: str = "keycloak"

    def run(self, execution: Execution) -> None:
        from ops.keycloak.failures.facts import OPS_CLIENT
        from ops.keycloak.h2 import database as h2

        h2.import_realms(execution.host, execution.project.name, self, OPS_CLIENT, execution.reporter(self))


@dataclass(frozen=True)
class SwapDatabase(Step):
    """Give the database that was filled beside it the name of the present one, which is kept under another."""

    database: str = "keycloak"

    def run(self, execution: Execution) -> None:
        from ops.keycloak.h2 import database as h2

        h2.swap_in(execution.host, execution.project.name, self.database)


@dataclass(frozen=True)
class SwapBack(Step):
    """The undo of it."""

    database: str = "keycloak"
    former: str = ""
    """Name of the one that was put aside."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.h2 import database as h2

        h2.swap_back(execution.host, execution.project.name, self.former, self.database)


@dataclass(frozen=True)
class DropImport(Step):
    """Drop the database that was filled and did not get its place."""

    database: str = "keycloak"

    def run(self, execution: Execution) -> None:
        from ops.keycloak.h2 import database as h2
        from ops.keycloak.schema import dump as dumps

        dumps.drop(execution.host, execution.project.name, h2.imported(self.database))


@dataclass(frozen=True)
class VerifyOperations(Step):
    """The operations client gets a token and reads the realms."""

    deadline: int = 60

    def run(self, execution: Execution) -> None:
        from ops.keycloak.admin import OPERATIONS, Api

        def ask() -> str:
            try:
                realms = Api.of(execution.project, OPERATIONS, realm="").get("")
            except OpsError as problem:
                return problem.why
            execution.report(self.key, f"{len(realms)} realms")
            return ""

        if why := until(ask, self.deadline):
            raise OpsError(f"the client {OPERATIONS.client_id} is refused", why, "inv keycloak")


@dataclass(frozen=True)
class RemoveFolder(Step):
    """Delete a folder of the state folder that was needed for this command only."""

    folder: str = ""

    def run(self, execution: Execution) -> None:
        remove_clear(execution.state.root / self.folder)
