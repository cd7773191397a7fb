"""The way in where nobody can administer Keycloak any more: `bootstrap-admin service`, used once and removed.

Keycloak's bootstrap variables act only before the realm master exists (bootstrap-admin guide), so its own command has to run
beside a stopped server: in a one-off container of the release's image, with the same networks, secrets and configuration.
"""

from __future__ import annotations

import secrets as random
import shutil
from collections.abc import Mapping
from typing import Any

from ops.core import state as files
from ops.core.errors import OpsError
from ops.core.wait import until
from ops.engines.podman import argv as podman
from ops.keycloak.repair.admin_api import make_human, make_operations
from ops.keycloak.repair.login import MASTER, Login
from ops.project import Project
from ops.secrets.at_rest import encrypted_copies as mirror
from ops.secrets.at_rest.secret_files import service_as_is
from ops.stack.render import container_name

TEMPORARY = "cc03-recovery"
SECRET = "keycloak-recovery"  # noqa: S105  (a name)
SECONDS = 420.0
"""The command starts a Keycloak without its HTTP server: 16 s of CPU time, and 145 s on a host with a load of 20 per CPU."""
SCRIPT = r"""set -euo pipefail
umask 077
IFS= read -r RECOVERY; export RECOVERY
password=$(</run/secrets/postgres-keycloak)
while IFS= read -r line || [[ -n $line ]]; do
  [[ $line == *@secret:postgres-keycloak@* || $line != *@secret:* ]] || continue
  [[ $line != bootstrap-admin-* ]] || continue
  printf '%s\n' "${line//@secret:postgres-keycloak@/"$password"}"
done </etc/cc03/current/keycloak.conf >/run/recovery.conf
mkdir -p /run/keycloak/data/tmp
exec java @/opt/keycloak/conf/jvm.options -XX:AOTCache=/opt/keycloak/lib/keycloak.aot \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file=/run/recovery.conf \
  bootstrap-admin service --client-id="$1" --client-secret:env=RECOVERY --optimized
"""


def bootstrap(project: Project, service: Mapping[str, Any]) -> None:
    """Make the temporary service account. Keycloak must not be running.

    Parameters
    ----------
    service: compose mapping of Keycloak's container in the release that runs.

    Raises OpsError where the command fails.
    """
    place = project.state.secrets / SECRET
    place.mkdir(mode=0o700, exist_ok=True)
    value = random.token_urlsafe(32)
    files.write(place / "1", value, mode=0o600)
    name = container_name(project.name, "keycloak-recovery")
    argv = podman.run_as(name, service_as_is(project.state, service), ("bash", "-c", SCRIPT, "recovery", TEMPORARY))
    project.host.run(podman.remove_all([name]), ok=None)
    answer = project.host.run(argv, timeout=SECONDS, stdin=value + "\n", ok=None)
    # It says that an account of this name is there already and ends with 0 or 1; only a token tells whether it works.
    if answer.returncode and "already exists" not in answer.stdout + answer.stderr:
        raise OpsError("bootstrap-admin failed", answer.last_words(4), "inv logs keycloak; inv logs postgres --since 10m")


def restore_operations(project: Project) -> None:
    """Make the operations client good in the name of the temporary one, try it, make the first administrator where it is
    missing, then remove the temporary one."""
    place = project.state.secrets / SECRET
    api = Login(project)
    value = (place / "1").read_text().strip()
    if why := until(lambda: api.as_client(TEMPORARY, value), 20.0):
        raise OpsError(f"Keycloak refuses the temporary account {TEMPORARY}", why, "inv keycloak.fix tries again")
    make_operations(api)
    own = Login(project)
    if why := own.as_operations():
        raise OpsError("the operations client is still refused", why, "inv keycloak")
    make_human(own)
    remove_temporary(own)


def remove_temporary(api: Login) -> None:
    """The temporary account, and its secret."""
    for one in api.call("GET", f"{MASTER}/clients?clientId={TEMPORARY}"):
        api.call("DELETE", f"{MASTER}/clients/{one['id']}")
    shutil.rmtree(api.project.state.secrets / SECRET, ignore_errors=True)
    mirror.removed(api.project.state.secrets / SECRET)
