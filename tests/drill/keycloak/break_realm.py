"""Ways to break the realm, its clients and accounts, through the admin API as somebody who clicks would."""

from __future__ import annotations

from typing import Any

from tests.drill.keycloak.breakage import Act, Breakage, at_once, mend, no_login
from tests.drill.keycloak.hands import Keycloak

FRONTEND = "cc03-frontend"
OFF = {"enabled": ["false"], "active": ["false"]}
KEY_PROVIDERS = "org.keycloak.keys.KeyProvider"


def rewind(keycloak: Keycloak) -> None:
    keycloak.rewind()


def client(client_id: str, **changed: Any) -> Act:
    def act(keycloak: Keycloak) -> None:
        found = keycloak.client(client_id)
        keycloak.admin("PUT", f"/clients/{found['id']}", json={**found, **changed})
        keycloak.later(lambda: keycloak.admin("PUT", f"/clients/{found['id']}", json=found))

    return act


def delete_client(keycloak: Keycloak) -> None:
    keycloak.admin("DELETE", f"/clients/{keycloak.client(FRONTEND)['id']}")


def realm(**changed: Any) -> Act:
    def act(keycloak: Keycloak) -> None:
        before = keycloak.admin("GET", "")
        keycloak.admin("PUT", "", json=changed)
        keycloak.later(lambda: keycloak.admin("PUT", "", json={name: before[name] for name in changed}))

    return act


def keys_off(keycloak: Keycloak) -> None:
    for one in keycloak.admin("GET", "/components", params={"type": KEY_PROVIDERS}):
        if one["providerId"].startswith("rsa") and "enc" not in one["providerId"]:
            path = f"/components/{one['id']}"
            keycloak.admin("PUT", path, json={**one, "config": {**one["config"], **OFF}})
            keycloak.later(lambda path=path, one=one: keycloak.admin("PUT", path, json=one))  # type: ignore[misc]


def master(keycloak: Keycloak, method: str, path: str, **options: Any) -> Any:
    """The master realm's admin API, with the token that the realm's own one uses."""
    keycloak.admin("GET", "")
    answer = keycloak.live.ops(method, f"/auth/admin/realms/master{path}", headers=keycloak.accounts._headers, **options)
    assert answer.status_code < 400, answer.text
    return answer.json() if answer.text else None


def admins_gone(keycloak: Keycloak) -> None:
    for user in master(keycloak, "GET", "/users"):
        if not user["username"].startswith("service-account-"):
            master(keycloak, "DELETE", f"/users/{user['id']}")
    (ops,) = master(keycloak, "GET", "/clients", params={"clientId": "cc03-ops"})
    master(keycloak, "DELETE", f"/clients/{ops['id']}")


OTHER = "another-secret-than-the-file-holds"


def ops_secret(keycloak: Keycloak) -> None:
    (ops,) = master(keycloak, "GET", "/clients", params={"clientId": "cc03-ops"})
    master(keycloak, "PUT", f"/clients/{ops['id']}", json={**ops, "secret": OTHER})
    keycloak.later(lambda: ops_secret_back(keycloak, ops))


def ops_secret_back(keycloak: Keycloak, ops: dict[str, Any]) -> None:
    """In its own name, with the secret that it has now."""
    grant = {"grant_type": "client_credentials", "client_id": "cc03-ops", "client_secret": OTHER}
    token = keycloak.live.ops("POST", "/auth/realms/master/protocol/openid-connect/token", data=grant).json()["access_token"]
    present = {**ops, "secret": keycloak.live.secret("keycloak-ops")}
    path = f"/auth/admin/realms/master/clients/{ops['id']}"
    keycloak.live.ops("PUT", path, json=present, headers={"Authorization": f"Bearer {token}"})


def lock_user(keycloak: Keycloak) -> None:
    """Somebody types a wrong password, again and again."""
    from tests.smoke.accounts import Login

    for _ in range(7):
        Login(keycloak.live).submit(keycloak.user.username, "wrong" * 4)


def unlock(keycloak: Keycloak) -> None:
    keycloak.admin("DELETE", "/attack-detection/brute-force/users")


BREAKAGES = (
    Breakage("redirect-wrong", "redirect-uri", client(FRONTEND, redirectUris=["https://old.example.com/"]), mend),
    Breakage("origin-wrong", "web-origin", client(FRONTEND, webOrigins=["https://old.example.com"]), mend, suffers=at_once),
    Breakage("redirect-wildcard", "security-loosened", client(FRONTEND, redirectUris=["*"]), mend, suffers=at_once),
    Breakage("ssl-off", "security-loosened", realm(sslRequired="none"), mend, suffers=at_once),
    Breakage("realm-disabled", "realm-disabled", realm(enabled=False), mend),
    Breakage("keys-disabled", "realm-keys", keys_off, mend, suffers=at_once),
    Breakage("client-disabled", "client-missing", client(FRONTEND, enabled=False), mend),
    Breakage("client-deleted", "client-missing", delete_client, rewind, loses=True),
    Breakage("user-locked", "users-locked", lock_user, unlock, suffers=no_login),
    Breakage("ops-secret-changed", "admin-refused", ops_secret, mend, suffers=at_once),
    Breakage("admins-gone", "admin-lost", admins_gone, rewind, suffers=at_once, loses=True),
)
