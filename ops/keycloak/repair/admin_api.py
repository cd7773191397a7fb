"""Repairs through the admin API, each after what was there has been kept for the undo; and the way in where nobody can
administer Keycloak any more: `bootstrap-admin service`, used once and removed.

Keycloak's bootstrap variables act only before the realm master exists (bootstrap-admin guide), so its own command has to run
beside a stopped server: in a one-off container of the release's image, with the same networks, secrets and configuration.
"""

from __future__ import annotations

import secrets as random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.core import files
from ops.core.errors import OpsError
from ops.core.process import until
from ops.keycloak.admin import HUMAN, OPERATIONS, Account, Api, secret
from ops.keycloak.failures.evidence import NEEDED, ORIGINS, REDIRECTS, accepts, too_wide
from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.keycloak.h2.steps import own_options
from ops.keycloak.realm.live import apply_realm, declared
from ops.keycloak.repair import undo_steps as undo
from ops.project import Project
from ops.secrets.secret_files import service_as_is
from ops.store import encrypted_copies

MASTER, PRODUCT = "master", REALM
ROOT = "/auth/admin/realms/"
"""Begins the paths of kept calls."""
KEY_PROVIDER = "org.keycloak.keys.KeyProvider"
SIGNING = ("rsa-generated", "rsa", "ecdsa-generated", "eddsa-generated", "java-keystore")
"""Providers of keys that sign (KeyProviderFactory ids); the `-enc` ones only encrypt."""
Call = tuple[str, str, Any]


@dataclass
class Change:
    """What a repair asks the admin API for. Calls that revert it are kept before each change."""

    project: Project
    api: Api

    def put(self, path: str, before: Any, after: Any) -> None:
        undo.keep(self.project.state, "realm", calls=[["PUT", ROOT + path, before]])
        self.api.ask("PUT", path, after)


def clear_locks(change: Change, users: tuple[str, ...]) -> None:
    """Only of these users. There is nothing to undo: the next failed logins lock them again."""
    for user in users:
        change.api.ask("DELETE", f"{PRODUCT}/attack-detection/brute-force/users/{user}")


def enable_realm(change: Change, _: tuple[str, ...]) -> None:
    change.put(PRODUCT, {"enabled": False}, {"enabled": True})


def enable_keys(change: Change, _: tuple[str, ...]) -> None:
    """Switch the providers that sign on again; one beside them where the realm has none."""
    api = change.api
    found = [one for one in api.get(f"{PRODUCT}/components?type={KEY_PROVIDER}") if one["providerId"] in SIGNING]
    for one in found:
        flags = {name: one["config"].get(name, ["true"]) for name in ("enabled", "active")}
        if flags == {"enabled": ["true"], "active": ["true"]}:
            continue
        after = {**one, "config": {**one["config"], "enabled": ["true"], "active": ["true"]}}
        change.put(f"{PRODUCT}/components/{one['id']}", one, after)
    if not found:
        realm = api.get(PRODUCT)
        config = {name: [value] for name, value in (("priority", "100"), ("enabled", "true"), ("active", "true"))}
        made = {"name": "rsa-generated", "providerId": "rsa-generated", "providerType": KEY_PROVIDER, "parentId": realm["id"]}
        api.ask("POST", f"{PRODUCT}/components", {**made, "config": {**config, "algorithm": ["RS256"], "keySize": ["2048"]}})


def operations_secret(change: Change, _: tuple[str, ...]) -> None:
    """Give the operations client the secret of the state folder. Somebody else has to be let in for that."""
    if why := change.api.why_refused():
        raise OpsError(
            f"{OPS_CLIENT} cannot be repaired through the admin API", f"the user {HUMAN.user} is refused as well: {why}",
            "bootstrap-admin service, with Keycloak stopped",
        )  # fmt: skip
    make_operations(change.project, change.api)
    if why := as_now(change.project, OPERATIONS).why_refused():
        raise OpsError(f"Keycloak still refuses {OPS_CLIENT}", why, "inv keycloak")


def make_operations(project: Project, api: Api) -> None:
    """The operations client as the first start makes it: a service account with the role admin, and the present secret."""
    wanted = {
        "clientId": OPS_CLIENT, "enabled": True, "publicClient": False, "serviceAccountsEnabled": True,
        "standardFlowEnabled": False, "directAccessGrantsEnabled": False, "implicitFlowEnabled": False,
        "secret": secret(project, "keycloak-ops"), "clientAuthenticatorType": "client-secret",
    }  # fmt: skip
    found = api.get(f"{MASTER}/clients?clientId={OPS_CLIENT}")
    if found:
        api.ask("PUT", f"{MASTER}/clients/{found[0]['id']}", {**found[0], **wanted})
    else:
        api.ask("POST", f"{MASTER}/clients", wanted)
        found = api.get(f"{MASTER}/clients?clientId={OPS_CLIENT}")
    account = api.get(f"{MASTER}/clients/{found[0]['id']}/service-account-user")
    if not account.get("enabled"):
        api.ask("PUT", f"{MASTER}/users/{account['id']}", {**account, "enabled": True})
    role = api.get(f"{MASTER}/roles/admin")
    api.ask("POST", f"{MASTER}/users/{account['id']}/role-mappings/realm", [role])


def make_human(project: Project, api: Api) -> None:
    """The first administrator as the first start makes it, where nobody of this name is there; with the present secret."""
    if api.get(f"{MASTER}/users?username={HUMAN.user}&exact=true"):
        return
    password = {"type": "password", "temporary": False, "value": secret(project, "keycloak-admin")}
    api.ask("POST", f"{MASTER}/users", {"username": HUMAN.user, "enabled": True, "credentials": [password]})
    made = api.get(f"{MASTER}/users?username={HUMAN.user}&exact=true")[0]
    role = api.get(f"{MASTER}/roles/admin")
    api.ask("POST", f"{MASTER}/users/{made['id']}/role-mappings/realm", [role])


# What is there is repaired in place; what is missing as a whole is made from the realm's declaration.


def _clients(change: Change) -> dict[str, Any]:
    return {one["clientId"]: one for one in change.api.get(f"{PRODUCT}/clients")}


def _set(change: Change, client: Mapping[str, Any], **fields: Any) -> None:
    """Change these fields of a client, if they are other ones."""
    before = {name: client.get(name) for name in fields}
    if before != fields:
        path = f"{PRODUCT}/clients/{client['id']}"
        change.put(path, {**client, **before}, {**client, **fields})


def enable_clients(change: Change, _: tuple[str, ...]) -> None:
    found = _clients(change)
    if missing := tuple(name for name in NEEDED if name not in found):
        # Nothing to undo: what the declaration has made anew is what was there before it was deleted.
        apply_realm(declared(change.project), lambda text: None, deletions=False, only=missing)
        found = _clients(change)
    for name in NEEDED:
        _set(change, found[name], enabled=True)


def add_redirects(change: Change, _: tuple[str, ...]) -> None:
    """The exact address beside those that there are, never a wildcard; the origin with it."""
    url, found = change.project.public_url, _clients(change)
    for name, path in REDIRECTS.items():
        uris, origins = found[name].get("redirectUris", []), found[name].get("webOrigins", [])
        _set(
            change, found[name], redirectUris=uris if any(accepts(uri, url + path) for uri in uris) else [*uris, url + path],
            webOrigins=origins if name not in ORIGINS or {url, "+", "*"} & set(origins) else [*origins, url],
        )  # fmt: skip


def tighten(change: Change, _: tuple[str, ...]) -> None:
    """TLS asked for again; wildcards over a whole host out of redirect addresses, the exact one in."""
    for realm in (PRODUCT, MASTER):
        if str(change.api.get(realm).get("sslRequired", "")).lower() == "none":
            change.put(realm, {"sslRequired": "none"}, {"sslRequired": "external"})
    for client in _clients(change).values():
        uris = client.get("redirectUris", [])
        _set(change, client, redirectUris=[uri for uri in uris if not too_wide(uri)])
    add_redirects(change, ())


REPAIRS: Mapping[str, Callable[[Change, tuple[str, ...]], None]] = {
    "users-locked": clear_locks, "realm-disabled": enable_realm, "realm-keys": enable_keys,
    "admin-refused": operations_secret,
    "client-missing": enable_clients, "redirect-uri": add_redirects, "web-origin": add_redirects,
    "security-loosened": tighten,
}  # fmt: skip
"""Finding -> its repair."""


def as_now(project: Project, account: Account) -> Api:
    """All realms in the name of an account with its newest secret, and no older one."""
    return Api.of(project, account, realm="", value=secret(project, account.secret))


def repair(project: Project, finding: str, details: tuple[str, ...]) -> None:
    """Do one repair. Raises OpsError where the admin API refuses it."""
    account = HUMAN if finding == "admin-refused" else OPERATIONS
    REPAIRS[finding](Change(project, as_now(project, account)), details)


def revert(project: Project, calls: list[Call]) -> None:
    """Send kept calls. Raises OpsError where one is refused."""
    api = as_now(project, OPERATIONS)
    for method, path, body in calls:
        api.ask(method, path.removeprefix(ROOT), body)


# The way in where nobody can administer Keycloak.

TEMPORARY = Account("master", "cc03-recovery", "keycloak-recovery")
SECONDS = 420.0
"""The command starts a Keycloak without its HTTP server: 16 s of CPU time, and 145 s on a host with a load of 20 per CPU."""
SCRIPT = (
    own_options("/run/recovery.conf")
    + r"""IFS= read -r RECOVERY; export RECOVERY
exec java @/opt/keycloak/conf/jvm.options -XX:AOTCache=/opt/keycloak/lib/keycloak.aot \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file=/run/recovery.conf \
  bootstrap-admin service --client-id="$1" --client-secret:env=RECOVERY --optimized
"""
)


def bootstrap(project: Project, service: Mapping[str, Any]) -> None:
    """Make the temporary service account. Keycloak must not be running.

    service: compose mapping of Keycloak's container in the release that runs.
    Raises OpsError where the command fails.
    """
    place = project.state.secrets / TEMPORARY.secret
    place.mkdir(mode=0o700, exist_ok=True)
    value = random.token_urlsafe(32)
    files.write(place / "1", value, mode=0o600)
    argv = ("bash", "-c", SCRIPT, "recovery", TEMPORARY.client_id)
    answer = project.engine.run_as(
        "keycloak-recovery", service_as_is(project.state, service), argv, timeout=SECONDS, stdin=value + "\n", ok=None,
    )  # fmt: skip
    # It says that an account of this name is there already and ends with 0 or 1; only a token tells whether it works.
    if answer.returncode and "already exists" not in answer.stdout + answer.stderr:
        raise OpsError("bootstrap-admin failed", answer.last_words(4), "inv logs keycloak; inv logs postgres --since 10m")


def restore_operations(project: Project) -> None:
    """Make the operations client good in the name of the temporary one, try it, make the first administrator where it is
    missing, then remove the temporary one."""
    if why := until(as_now(project, TEMPORARY).why_refused, 20.0):
        raise OpsError(f"Keycloak refuses the temporary account {TEMPORARY.client_id}", why, "inv keycloak.fix tries again")
    make_operations(project, as_now(project, TEMPORARY))
    own = as_now(project, OPERATIONS)
    if why := own.why_refused():
        raise OpsError("the operations client is still refused", why, "inv keycloak")
    make_human(project, own)
    remove_temporary(project, own)


def remove_temporary(project: Project, api: Api) -> None:
    """The temporary account, and its secret."""
    for one in api.get(f"{MASTER}/clients?clientId={TEMPORARY.client_id}"):
        api.ask("DELETE", f"{MASTER}/clients/{one['id']}")
    shutil.rmtree(project.state.secrets / TEMPORARY.secret, ignore_errors=True)
    encrypted_copies.removed(project.state.secrets / TEMPORARY.secret)
