"""Repairs through the admin API: each changes what its finding names, after what was there has been kept for the undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import OpsError
from ops.keycloak.admin import secret
from ops.keycloak.failures.facts import OPS_CLIENT
from ops.keycloak.failures.realm import NEEDED, REDIRECTS, accepts, too_wide
from ops.keycloak.probe.gather import Place
from ops.keycloak.realm.live import bring_about, declared
from ops.keycloak.repair import undo
from ops.keycloak.repair.login import HUMAN, MASTER, PRODUCT, Login, operations
from ops.project import Project

KEY_PROVIDER = "org.keycloak.keys.KeyProvider"
SIGNING = ("rsa-generated", "rsa", "ecdsa-generated", "eddsa-generated", "java-keystore")
"""Providers of keys that sign (KeyProviderFactory ids); the `-enc` ones only encrypt."""
Call = tuple[str, str, Any]


@dataclass
class Change:
    """What a repair has asked the admin API for. `back`: calls that revert it, kept before each change."""

    api: Login
    back: list[Call] = field(default_factory=list)

    def keep(self, *calls: Call) -> None:
        self.back[:0] = calls
        undo.keep(self.api.project.state, "realm", calls=[list(call) for call in calls])

    def put(self, path: str, before: Any, after: Any) -> None:
        self.keep(("PUT", path, before))
        self.api.call("PUT", path, after)


def clear_locks(change: Change, users: tuple[str, ...]) -> None:
    """Only of these users. There is nothing to undo: the next failed logins lock them again."""
    for user in users:
        change.api.call("DELETE", f"{PRODUCT}/attack-detection/brute-force/users/{user}")


def enable_realm(change: Change, _: tuple[str, ...]) -> None:
    change.put(PRODUCT, {"enabled": False}, {"enabled": True})


def enable_keys(change: Change, _: tuple[str, ...]) -> None:
    """Switch the providers that sign on again; one beside them where the realm has none."""
    api = change.api
    found = [one for one in api.call("GET", f"{PRODUCT}/components?type={KEY_PROVIDER}") if one["providerId"] in SIGNING]
    for one in found:
        flags = {name: one["config"].get(name, ["true"]) for name in ("enabled", "active")}
        if flags == {"enabled": ["true"], "active": ["true"]}:
            continue
        after = {**one, "config": {**one["config"], "enabled": ["true"], "active": ["true"]}}
        change.put(f"{PRODUCT}/components/{one['id']}", one, after)
    if not found:
        realm = api.call("GET", PRODUCT)
        config = {name: [value] for name, value in (("priority", "100"), ("enabled", "true"), ("active", "true"))}
        made = {"name": "rsa-generated", "providerId": "rsa-generated", "providerType": KEY_PROVIDER, "parentId": realm["id"]}
        api.call("POST", f"{PRODUCT}/components", {**made, "config": {**config, "algorithm": ["RS256"], "keySize": ["2048"]}})


def operations_secret(change: Change, _: tuple[str, ...]) -> None:
    """Give the operations client the secret of the state folder. Somebody else has to be let in for that."""
    api = change.api
    if why := api.as_human():
        raise OpsError(
            f"{OPS_CLIENT} cannot be put right through the admin API", f"the user {HUMAN} is refused as well: {why}",
            "bootstrap-admin service, with Keycloak stopped",
        )  # fmt: skip
    make_operations(api)
    if why := Login(api.project).as_operations():
        raise OpsError(f"Keycloak still refuses {OPS_CLIENT}", why, "inv keycloak")


def make_operations(api: Login) -> None:
    """The operations client as the first start makes it: a service account with the role admin, and the present secret."""
    wanted = {
        "clientId": OPS_CLIENT, "enabled": True, "publicClient": False, "serviceAccountsEnabled": True,
        "standardFlowEnabled": False, "directAccessGrantsEnabled": False, "implicitFlowEnabled": False,
        "secret": secret(api.project, "keycloak-ops"), "clientAuthenticatorType": "client-secret",
    }  # fmt: skip
    found = api.call("GET", f"{MASTER}/clients?clientId={OPS_CLIENT}")
    if found:
        api.call("PUT", f"{MASTER}/clients/{found[0]['id']}", {**found[0], **wanted})
    else:
        api.call("POST", f"{MASTER}/clients", wanted)
        found = api.call("GET", f"{MASTER}/clients?clientId={OPS_CLIENT}")
    account = api.call("GET", f"{MASTER}/clients/{found[0]['id']}/service-account-user")
    if not account.get("enabled"):
        api.call("PUT", f"{MASTER}/users/{account['id']}", {**account, "enabled": True})
    role = api.call("GET", f"{MASTER}/roles/admin")
    api.call("POST", f"{MASTER}/users/{account['id']}/role-mappings/realm", [role])


def make_human(api: Login) -> None:
    """The first administrator as the first start makes it, where nobody of this name is there; with the present secret."""
    if api.call("GET", f"{MASTER}/users?username={HUMAN}&exact=true"):
        return
    password = {"type": "password", "temporary": False, "value": secret(api.project, "keycloak-admin")}
    api.call("POST", f"{MASTER}/users", {"username": HUMAN, "enabled": True, "credentials": [password]})
    made = api.call("GET", f"{MASTER}/users?username={HUMAN}&exact=true")[0]
    role = api.call("GET", f"{MASTER}/roles/admin")
    api.call("POST", f"{MASTER}/users/{made['id']}/role-mappings/realm", [role])


# What is there is mended in place; what is missing as a whole is made from the realm's declaration.


def _clients(change: Change) -> dict[str, Any]:
    return {one["clientId"]: one for one in change.api.call("GET", f"{PRODUCT}/clients")}


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
        bring_about(declared(change.api.project), lambda text: None, deletions=False, only=missing)
        found = _clients(change)
    for name in NEEDED:
        _set(change, found[name], enabled=True)


def add_redirects(change: Change, _: tuple[str, ...]) -> None:
    """The exact address beside those that there are, never a wildcard; the origin with it."""
    url, found = Place(change.api.project, {}).public_url, _clients(change)
    for name, path in REDIRECTS.items():
        uris, origins = found[name].get("redirectUris", []), found[name].get("webOrigins", [])
        _set(
            change, found[name], redirectUris=uris if any(accepts(uri, url + path) for uri in uris) else [*uris, url + path],
            webOrigins=origins if {url, "+", "*"} & set(origins) else [*origins, url],
        )  # fmt: skip


def tighten(change: Change, _: tuple[str, ...]) -> None:
    """TLS asked for again; wildcards over a whole host out of redirect addresses, the exact one in."""
    for realm in (PRODUCT, MASTER):
        if str(change.api.call("GET", realm).get("sslRequired", "")).lower() == "none":
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


def repair(project: Project, finding: str, details: tuple[str, ...]) -> None:
    """Do one repair. Raises OpsError where the admin API refuses it."""
    api = Login(project) if finding == "admin-refused" else operations(project)
    REPAIRS[finding](Change(api), details)


def revert(project: Project, calls: list[Call]) -> None:
    """Send kept calls. Raises OpsError where one is refused."""
    api = operations(project)
    for method, path, body in calls:
        api.call(method, path, body)
