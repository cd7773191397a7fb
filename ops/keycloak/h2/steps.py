"""Steps that move Keycloak from H2 to PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.core.files import remove_clear
from ops.core.plan import Step
from ops.engines.engine import OneOff

if TYPE_CHECKING:
    from ops.execution import Execution

IMPORTED = "keycloak_import"
"""Database that is filled, beside the present one: config/postgres/pg_hba.conf lets Keycloak's role into this one."""
EXPORT_SECONDS = 1800.0
IMPORT_SECONDS = 3600.0
BUILD_SECONDS = 1200
LAST = 6
"""Errors that are shown of a run that failed."""
REPORT = "nothing was changed; report these lines"
EXPORT = r"""set -euo pipefail
mkdir -p /opt/keycloak/data
ln -s /h2 /opt/keycloak/data/h2
exec /opt/keycloak/bin/kc.sh export --db=dev-file ${1:+--db-username="$1" --db-password=password} \
  --dir=/export --users=different_files --users-per-file=500
"""


def own_options(file: str, *without: str) -> str:
    """Shell that writes Keycloak's options as the release has them into a file, with no secret but its database's password.

    without: patterns of lines that are left out, besides those of the first administrator.
    """
    others = "".join(f" && $line != {pattern}" for pattern in without)
    return rf"""set -euo pipefail
umask 077
password=$(</run/secrets/postgres-keycloak)
while IFS= read -r line || [[ -n $line ]]; do
  [[ $line == *@secret:postgres-keycloak@* || $line != *@secret:* ]] || continue
  [[ $line != bootstrap-admin-*{others} ]] || continue
  printf '%s\n' "${{line//@secret:postgres-keycloak@/"$password"}}"
done </etc/cc03/current/keycloak.conf >{file}
mkdir -p /run/keycloak/data/tmp
"""


IMPORT = (
    own_options("/run/import.conf", "db-url-database=*")
    + r"""printf 'db-url-database=%s\n' "$1" >>/run/import.conf
keycloak() {
  java @/opt/keycloak/conf/jvm.options io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file=/run/import.conf \
    "$@" --optimized
}
keycloak import --dir=/import
echo "cc03: imported"
OPERATIONS=$(</run/secrets/keycloak-ops)
export OPERATIONS
keycloak bootstrap-admin service --client-id="$2" --client-secret:env=OPERATIONS
"""
)


@dataclass(frozen=True)
class ExportRealms(Step):
    """Export every realm, with its users, out of the copy of an H2 database, in a throw-away container without a network."""

    folder: str = ""
    """Within the state folder: the copy is below it, and the export gets there."""
    user: str = ""
    """H2's user, where it has a name."""
    tag: str = ""
    """Image with Keycloak's whole distribution, which is built up to that stage: the product's image leaves out parts of it."""
    context: str = ""
    args: tuple[tuple[str, str], ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.keycloak.h2.file import SLOT

        folder, log = execution.state.root / self.folder, execution.state.builds / f"{SLOT}.log"
        report = execution.reporter(self)
        report("making Keycloak's distribution available, which the product's image leaves out parts of")
        execution.engine.build_image(
            SLOT, self.tag, Path(self.context), dict(self.args), BUILD_SECONDS, report, stage="distribution"
        )
        report("building it for H2 and exporting")
        target = folder / "export"
        target.mkdir(mode=0o700, exist_ok=True)
        command = ("bash", "-c", EXPORT, "export", self.user)
        one = OneOff(self.tag, command, SLOT, {folder / "data": "/h2", target: "/export"}, fixed=False)
        execution.engine.run(one, timeout=EXPORT_SECONDS, log=log)
        if not any(target.glob("*-realm.json")):
            raise OpsError("Keycloak exported nothing", f"read {log}", "the database may hold no realm; nothing was changed")


@dataclass(frozen=True)
class ImportRealms(Step):
    """Import exported realms into an empty database beside the present one, and count what has arrived.

    It gets the operations client as well, which H2 knows nothing of.
    """

    folder: str = ""
    service: Mapping[str, Any] = field(default_factory=dict)
    """The compose mapping of Keycloak's container in the release that runs."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Kind -> number that there has to be afterwards."""
    database: str = "keycloak"

    def run(self, execution: Execution) -> None:
        from ops.keycloak.failures.facts import OPS_CLIENT
        from ops.keycloak.failures.log import errors_said
        from ops.keycloak.h2.plan import differences
        from ops.keycloak.schema import dump as dumps
        from ops.keycloak.schema.observed import schema_of
        from ops.secrets.secret_files import service_as_is

        engine, exported = execution.engine, execution.state.root / self.folder / "export"
        owner = int(str(self.service["user"]).partition(":")[0])
        for path in (exported, *exported.iterdir()):
            shutil.chown(path, owner, owner)
        with dumps.beside(engine, self.database, IMPORTED) as fresh:
            execution.report(self.key, f"importing into {fresh}")
            service = {**self.service, "volumes": [*self.service.get("volumes", ()), f"{exported}:/import:ro"]}
            command = ("bash", "-c", IMPORT, "import", fresh, OPS_CLIENT)
            answer = engine.run_as(
                "keycloak-import", service_as_is(execution.state, service), command, timeout=IMPORT_SECONDS, ok=None
            )
            said = answer.stdout + answer.stderr
            if answer.returncode and not ("cc03: imported" in said and "already exists" in said):
                errors = errors_said(said)
                why = errors[-1] if errors else answer.last_words(3)
                raise OpsError("the import into PostgreSQL failed", why, REPORT, errors[-LAST:])
            schema = schema_of(engine, fresh)
            # The operations client and its account are not of H2.
            own = int(dumps.ask(engine, fresh, "SELECT count(*) FROM client WHERE client_id = :'own';", own=OPS_CLIENT))
            found = dict(schema.counts) if schema else {}
            for kind in ("clients", "users"):
                found[kind] = found.get(kind, 0) - own
            if missing := differences(self.counts, found):
                raise OpsError("not everything has arrived in PostgreSQL", "; ".join(missing), REPORT)


@dataclass(frozen=True)
class VerifyOperations(Step):
    """The operations client gets a token and reads the realms."""

    deadline: int = 60

    def run(self, execution: Execution) -> None:
        from ops.core.process import until
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
