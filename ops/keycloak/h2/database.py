"""An H2 database of Keycloak moved into PostgreSQL. The file is copied and only the copy is opened, without a network."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ops.core.errors import HostLacks, OpsError
from ops.core.files import host_ca_bundle, remove_clear
from ops.engines.engine import OneOff
from ops.engines.podman import argv as podman
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host
from ops.engines.podman.images import network_for_builds
from ops.host.files import owner_of
from ops.keycloak.failures.log import errors_said
from ops.keycloak.h2.plan import FOLDER, QUERY, Source, differences, file_of, parse_answer
from ops.keycloak.h2.steps import ExportRealms, ImportRealms
from ops.keycloak.schema import dump as dumps
from ops.keycloak.schema.observed import schema_of
from ops.keycloak.schema.upgrade import DATABASE, SLOT
from ops.secrets.at_rest.secret_files import service_as_is
from ops.stack.render import container_name

NAME = "keycloakdb.mv.db"
"""What Keycloak calls it; the copy bears this name whatever the file is called."""
ASK_SECONDS = 120.0
EXPORT_SECONDS = 1800.0
IMPORT_SECONDS = 3600.0
BUILD_SECONDS = 1200.0
OWNER = 60704
CHUNK = 1 << 20
LAST = 6
"""Errors that are shown of a run that failed."""
INSPECT = r"""jar=$(echo /opt/keycloak/lib/lib/main/com.h2database.h2-*.jar)
for user in "" sa; do
  said=$(java -Djava.io.tmpdir=/tmp -cp "$jar" org.h2.tools.Shell -user "$user" -password "${user:+password}" \
    -url 'jdbc:h2:file:/h2/keycloakdb;IFEXISTS=TRUE;NON_KEYWORDS=VALUE' -sql "$1" 2>&1)
  [[ $said == *28000-* ]] || break
done
printf '%s\n' "$said" "user:$user"
"""
"""Keycloak's own user of H2 has no name and no password; that of earlier versions was sa, with the password `password`."""
EXPORT = r"""set -euo pipefail
mkdir -p /opt/keycloak/data
ln -s /h2 /opt/keycloak/data/h2
exec /opt/keycloak/bin/kc.sh export --db=dev-file ${1:+--db-username="$1" --db-password=password} \
  --dir=/export --users=different_files --users-per-file=500
"""
IMPORT = r"""set -euo pipefail
umask 077
password=$(</run/secrets/postgres-keycloak)
while IFS= read -r line || [[ -n $line ]]; do
  [[ $line == *@secret:postgres-keycloak@* || $line != *@secret:* ]] || continue
  [[ $line != bootstrap-admin-* && $line != db-url-database=* ]] || continue
  printf '%s\n' "${line//@secret:postgres-keycloak@/"$password"}"
done </etc/cc03/current/keycloak.conf >/run/import.conf
printf 'db-url-database=%s\n' "$1" >>/run/import.conf
mkdir -p /run/keycloak/data/tmp
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


def find(path: Path) -> Path:
    """The database file that a path names. Raises OpsError where there is none, or more than one."""
    try:
        if path.is_dir():
            folder = path / "h2" if (path / "h2").is_dir() else path
            return folder / file_of(one.name for one in folder.iterdir())
        if path.is_file() and path.name.endswith(".mv.db"):
            return path
    except OSError as problem:
        raise HostLacks(f"cannot read {path}", str(problem.strerror), "run it as root") from problem
    what = "is no H2 database" if path.exists() else "does not exist"
    raise OpsError(
        f"{path} {what}", "a folder data/h2 or a file that ends in .mv.db is needed", "inv --help keycloak.migrate-h2"
    )


def copy(source: Path, folder: Path) -> str:
    """Copy the database into a folder for root alone, and return its SHA-256.

    Raises OpsError where a Keycloak has it open, or it changed while it was copied.
    """
    remove_clear(folder)
    target = folder / "data" / NAME
    target.parent.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    with source.open("rb") as file:
        try:
            # H2 holds an exclusive lock on the file for as long as it is open.
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as problem:
            raise OpsError(
                f"the H2 database {source} is in use", "a copy of it would be torn", "stop the Keycloak that has it open"
            ) from problem
    before = digest(source)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    if not before == digest(target) == digest(source):
        raise OpsError(f"the H2 database {source} changed while it was copied", "somebody writes to it", "stop that Keycloak")
    return before


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def inspect(host: Host, source: Path, folder: Path, image: str) -> Source:
    """Which Keycloak wrote it, and what is in it, by the copy.

    Raises OpsError where H2 cannot read it; what to do is said by H2's error code.
    """
    name = container_name(host.project, "keycloak-h2")
    argv = podman.run_one_off(OneOff(image, ("bash", "-c", INSPECT, "h2", QUERY), mounts={folder / "data": "/h2"}), name)
    host.run(podman.remove_all([name]), ok=None)
    answer = host.run(argv, timeout=ASK_SECONDS, ok=None)
    return parse_answer(str(source), answer.stdout + answer.stderr)


def export(host: Host, step: ExportRealms, report: Callable[[str], None]) -> None:
    """Every realm, with its users, as JSON files. Raises OpsError where Keycloak cannot export the copy."""
    folder, log = host.state.root / step.folder, host.state.builds / "keycloak-h2.log"
    log.write_text("")
    report("making Keycloak's distribution available, which the product's image leaves out parts of")
    bundle = host_ca_bundle()
    args = dict(step.args)
    network = network_for_builds(host, next(iter(args.values())))
    build = podman.image_build(Path(step.context), step.tag, args, {}, bundle, target="distribution", network=network)
    host.run(build, timeout=BUILD_SECONDS, log=log)
    report("building it for H2 and exporting")
    target, name = folder / "export", container_name(host.project, "keycloak-h2")
    target.mkdir(mode=0o700, exist_ok=True)
    host.run(podman.remove_all([name]), ok=None)
    mounts = {folder / "data": "/h2", target: "/export"}
    argv = podman.run_one_off(OneOff(step.tag, ("bash", "-c", EXPORT, "export", step.user), mounts=mounts, fixed=False), name)
    host.run(argv, timeout=EXPORT_SECONDS, log=log)
    if not any(target.glob("*-realm.json")):
        raise OpsError("Keycloak exported nothing", f"read {log}", "the database may hold no realm; nothing was changed")
    owner = owner_of(PodmanEngine(host, host.project), "keycloak", OWNER)
    for path in (target, *target.iterdir()):
        shutil.chown(path, owner, owner)


def import_realms(host: Host, project_name: str, step: ImportRealms, operations: str, report: Callable[[str], None]) -> None:
    """Fill a new database beside the present one, and give it the operations client, which H2 knows nothing of.

    Parameters
    ----------
    operations: name of that client.

    Raises OpsError, with the new database dropped, where the import fails or something did not arrive.
    """
    fresh = dumps.create_beside(host, project_name, step.database, imported(step.database))
    try:
        report(f"importing into {fresh}")
        service: dict[str, Any] = dict(step.service or {})
        service["volumes"] = [*service.get("volumes", ()), f"{host.state.root / step.folder / 'export'}:/import:ro"]
        name = container_name(project_name, "keycloak-import")
        host.run(podman.remove_all([name]), ok=None)
        argv = podman.run_as(name, service_as_is(host.state, service), ("bash", "-c", IMPORT, "import", fresh, operations))
        answer = host.run(argv, timeout=IMPORT_SECONDS, ok=None)
        said = answer.stdout + answer.stderr
        if answer.returncode and not ("cc03: imported" in said and "already exists" in said):
            found = errors_said(said)
            why = found[-1] if found else answer.last_words(3)
            raise OpsError("the import into PostgreSQL failed", why, "nothing was changed; report these lines", found[-LAST:])
        _count(host, project_name, fresh, step.counts, operations)
    except BaseException:
        dumps.drop(host, project_name, fresh)
        raise


def _count(host: Host, project_name: str, database: str, expected: Mapping[str, int], operations: str) -> None:
    """Raises OpsError where fewer or more have arrived than H2 holds; the operations client and its account are not counted."""
    schema = schema_of(host, project_name, database)
    script = """SELECT count(*) FROM client WHERE client_id = :'own';"""
    added = int(dumps.ask(host, project_name, database, script, own=operations))
    found = dict(schema.counts) if schema else {}
    for kind in ("clients", "users"):
        found[kind] = found.get(kind, 0) - added
    if missing := differences(expected, found):
        raise OpsError(
            "not everything has arrived in PostgreSQL", "; ".join(missing), "nothing was changed; report these lines"
        )


def swap_in(host: Host, project_name: str, database: str = DATABASE) -> str:
    """The database that was filled takes the place of the present one, whose name from then on is returned."""
    return dumps.swap(host, project_name, database, imported(database))


def imported(database: str) -> str:
    """What the database is called while it is filled: config/postgres/pg_hba.conf lets Keycloak's role into this one."""
    return f"{database}_import"


def swap_back(host: Host, project_name: str, former: str, database: str = DATABASE) -> None:
    """A former database takes its place again; what stood there is dropped."""
    if put_aside := dumps.swap(host, project_name, database, former):
        dumps.drop(host, project_name, put_aside)


def service_of(compose: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keycloak's container in a release."""
    return dict(compose["services"][SLOT])


def folder_of(host: Host) -> Path:
    return host.state.root / FOLDER


def remove(host: Host) -> None:
    """What holds password hashes goes with the command, however that ended."""
    remove_clear(folder_of(host))
