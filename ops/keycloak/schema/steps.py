"""Steps that dump, restore, exchange and review databases."""

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
    """Dump one database (pg_dump -Fc) into the state folder, and read the dump back as a whole."""

    database: str = "keycloak"
    path: str = ""
    """Empty: `dumps/<database>-<UTC time>.dump` in the state folder."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps
        from ops.keycloak.schema.observed import about
        from ops.keycloak.schema.upgrade import DATABASE

        engine = execution.engine
        path = execution.state.root / self.path if self.path else dumps.new_path(execution.state, self.database)
        noted = about(engine, self.title) if self.database == DATABASE else {"why": self.title}
        execution.report(self.key, f"into {path}")
        dumps.dump(engine, self.database, path, DUMP_SECONDS, noted)
        dumps.forget_old_dumps(execution.state, self.database)
        dumps.drop_old(engine, self.database)


@dataclass(frozen=True)
class RestoreDatabase(Step):
    """Restore a dump in place of a database without writers. The previous one is kept under another name."""

    database: str = "keycloak"
    path: str = ""
    """Within the state folder."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps

        path = execution.state.root / self.path
        if not path.is_file():
            raise OpsError(f"there is no {path}", "the dump was removed", "inv rollback --plan shows which are kept")
        former = dumps.restore(execution.engine, self.database, path, DUMP_SECONDS)
        execution.report(self.key, f"the previous database is now {former}")


@dataclass(frozen=True)
class SwapDatabase(Step):
    """Give another database the name of the present one."""

    database: str = "keycloak"
    other: str = ""
    keep: bool = True
    """Whether the present one is kept, under a name with the time in it."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps

        previous = dumps.swap(execution.engine, self.database, self.other)
        if previous and not self.keep:
            dumps.drop(execution.engine, previous)


@dataclass(frozen=True)
class DropBeside(Step):
    """Drop the databases beside the present one: those that were replaced by it, or one that did not get its place."""

    database: str = "keycloak"
    kind: str = "before_"
    """Beginning of their names, behind the name of the present one."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import dump as dumps

        for name in dumps.databases(execution.engine, f"{self.database}_{self.kind}"):
            dumps.drop(execution.engine, name)


@dataclass(frozen=True)
class ReviewMigrations(Step):
    """Read from the image what it will change in the schema, now that both can be asked; refuse what would be a downgrade."""

    tag: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.schema import observed as schema

        execution.report(self.key, schema.review(execution.project, self.tag))
