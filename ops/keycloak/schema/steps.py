"""Steps that dump, restore and review Keycloak's database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution

DUMP_SECONDS = 3600.0
"""Until a dump or a restore is given up: 120 MB took 17 s on two busy cores."""


@dataclass(frozen=True)
class DumpDatabase(Step):
    """Dump one database (pg_dump -Fc) into the state folder, and read the dump's list of contents back."""

    database: str = "keycloak"
    path: str = ""
    """Empty: `dumps/<database>-<UTC time>.dump` in the state folder."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps
        from ops.keycloak.schema import observed as schema
        from ops.keycloak.schema.upgrade import DATABASE

        name = execution.project.name
        path = execution.state.root / self.path if self.path else dumps.new_path(execution.state, self.database)
        about = schema.about(execution.host, name, self.title) if self.database == DATABASE else {"why": self.title}
        execution.report(self.key, f"into {path}")
        dumps.dump(execution.host, name, self.database, path, DUMP_SECONDS, about)
        dumps.forget_old_dumps(execution.state, self.database)
        dumps.drop_old(execution.host, name, self.database)


@dataclass(frozen=True)
class RestoreDatabase(Step):
    """Put a dump in the place of a database that nobody writes to. The former one is kept under another name."""

    database: str = "keycloak"
    path: str = ""
    """Within the state folder."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps

        path = execution.state.root / self.path
        if not path.is_file():
            raise OpsError(f"there is no {path}", "the dump was removed", "inv rollback --plan shows which are kept")
        former = dumps.restore(execution.host, execution.project.name, self.database, path, DUMP_SECONDS)
        execution.report(self.key, f"the former database is {former}")


@dataclass(frozen=True)
class DropFormer(Step):
    """Drop the databases that restores have put aside, now that what replaced them is known to serve."""

    database: str = "keycloak"

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps

        for name in dumps.databases(execution.host, execution.project.name, f"{self.database}_before_"):
            dumps.drop(execution.host, execution.project.name, name)


@dataclass(frozen=True)
class ReviewMigrations(Step):
    """Read from the image what it will change in the schema, now that both can be asked; refuse what would be a downgrade."""

    tag: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import observed as schema

        execution.report(self.key, schema.review(execution.project, self.tag))
