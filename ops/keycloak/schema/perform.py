"""How Keycloak's database is dumped, restored and moved on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

from ops.core.errors import OpsError
from ops.core.files import remove_clear
from ops.core.wait import until
from ops.deploy.perform import Execution, does
from ops.keycloak.admin import OPERATIONS, connect
from ops.keycloak.failures.facts import OPS_CLIENT
from ops.keycloak.h2 import database as h2
from ops.keycloak.schema import dump as dumps
from ops.keycloak.schema import observed as schema
from ops.keycloak.schema.upgrade import DATABASE
from ops.keycloak.steps import (
    DropFormer,
    DropImport,
    DumpDatabase,
    ExportRealms,
    ImportRealms,
    RemoveFolder,
    RestoreDatabase,
    ReviewMigrations,
    SwapBack,
    SwapDatabase,
    VerifyOperations,
)

DUMP_SECONDS = 3600.0
"""Until a dump or a restore is given up: 120 MB took 17 s on two busy cores."""


@does(DumpDatabase)
def _dump(self: Execution, step: DumpDatabase) -> None:
    name = self.project.name
    path = self.state.root / step.path if step.path else dumps.new_path(self.state, step.database)
    about = schema.about(self.host, name, step.title) if step.database == DATABASE else {"why": step.title}
    self.report(step.key, f"into {path}")
    dumps.dump(self.host, name, step.database, path, DUMP_SECONDS, about)
    dumps.forget_old_dumps(self.state, step.database)
    dumps.drop_old(self.host, name, step.database)


@does(RestoreDatabase)
def _restore(self: Execution, step: RestoreDatabase) -> None:
    path = self.state.root / step.path
    if not path.is_file():
        raise OpsError(f"there is no {path}", "somebody has removed the dump", "inv rollback --plan shows which are kept")
    former = dumps.restore(self.host, self.project.name, step.database, path, DUMP_SECONDS)
    self.report(step.key, f"the former database is {former}")


@does(DropFormer)
def _drop_former(self: Execution, step: DropFormer) -> None:
    for name in dumps.databases(self.host, self.project.name, f"{step.database}_before_"):
        dumps.drop(self.host, self.project.name, name)


@does(ReviewMigrations)
def _review(self: Execution, step: ReviewMigrations) -> None:
    self.report(step.key, schema.review(self.project, step.tag))


@does(ExportRealms)
def _export(self: Execution, step: ExportRealms) -> None:
    h2.export(self.host, step, lambda text: self.report(step.key, text))


@does(ImportRealms)
def _import(self: Execution, step: ImportRealms) -> None:
    h2.import_realms(self.host, self.project.name, step, OPS_CLIENT, lambda text: self.report(step.key, text))


@does(SwapDatabase)
def _swap(self: Execution, step: SwapDatabase) -> None:
    h2.swap_in(self.host, self.project.name, step.database)


@does(SwapBack)
def _swap_back(self: Execution, step: SwapBack) -> None:
    h2.swap_back(self.host, self.project.name, step.former, step.database)


@does(DropImport)
def _drop_import(self: Execution, step: DropImport) -> None:
    dumps.drop(self.host, self.project.name, h2.imported(step.database))


@does(VerifyOperations)
def _verify_operations(self: Execution, step: VerifyOperations) -> None:
    def ask() -> str:
        from keycloak import KeycloakError

        try:
            realms = connect(self.project, OPERATIONS).get_realms()
        except (KeycloakError, OSError) as problem:
            return " ".join(str(problem).split())[:200]
        self.report(step.key, f"{len(realms)} realms")
        return ""

    if why := until(ask, step.deadline):
        raise OpsError(f"the client {OPERATIONS.client_id} is refused", why, "inv keycloak")


@does(RemoveFolder)
def _remove_folder(self: Execution, step: RemoveFolder) -> None:
    remove_clear(self.state.root / step.folder)
