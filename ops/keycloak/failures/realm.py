"""Failures of the realm, its clients and accounts: users reach Keycloak, and cannot log in."""

from __future__ import annotations

import re

from ops.keycloak.failures.facts import OPS_CLIENT, REALM, Client, Facts
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import (
    DATA,
    NO_WILDCARD,
    NOT_STARTED,
    USERS,
    Remedy,
    Way,
    admin_api,
    by_hand,
    released,
)

REDIRECTS = {"cc03-frontend": "/", "cc03-grafana": "/grafana/login/generic_oauth"}
"""Client with a login of its own -> path below the public URL that it must accept (config/keycloak/realm.yaml)."""
NEEDED = (*REDIRECTS, "cc03-backend")


def _clients(facts: Facts) -> dict[str, Client]:
    content = facts.postgres.content
    return {client.client_id: client for client in content.clients} if content and content.realms.get(REALM) else {}


def _realm_missing(facts: Facts) -> str:
    content = facts.postgres.content
    # A first deploy makes it once Keycloak is ready.
    gone = content is not None and REALM not in content.realms and facts.ready and not facts.under_way
    return f"the database holds {', '.join(sorted(content.realms)) or 'no realm'}" if content and gone else ""


def _realm_disabled(facts: Facts) -> str:
    content = facts.postgres.content
    return "enabled is false in the database" if content and content.realms.get(REALM) is False else ""


def _file_name(facts: Facts) -> str:
    files = facts.server.realm_files.items()
    return ", ".join(f"{name} holds the realm {realm}" for name, realm in files if name != f"{realm}-realm.json")


def _keys(facts: Facts) -> str:
    content = facts.postgres.content
    if not facts.ready or content is None or REALM not in content.realms:
        return ""
    if facts.edge.signing_keys == 0:
        return "it hands out no key for signatures"
    off = [name for name, active in content.key_providers.items() if not active]
    if content.key_providers and len(off) < len(content.key_providers):
        return ""
    return f"key providers that sign: {', '.join(off) + ' (disabled or passive)' if off else 'none'}"


def _client_missing(facts: Facts) -> str:
    clients = _clients(facts)
    if not clients:
        return ""
    wrong = [
        f"{name} is {'disabled' if name in clients else 'missing'}"
        for name in NEEDED if name not in clients or not clients[name].enabled
    ]  # fmt: skip
    return ", ".join(wrong)


def accepts(pattern: str, url: str) -> bool:
    """Whether a redirect URI of Keycloak covers a URL; a `*` at its end stands for anything."""
    return url.startswith(pattern[:-1]) if pattern.endswith("*") else url == pattern


def _redirect(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name, path in REDIRECTS.items():
        client, url = clients.get(name), facts.public_url + path
        if client and client.enabled and not any(accepts(pattern, url) for pattern in client.redirects):
            wrong.append(f"{name} accepts {', '.join(client.redirects) or 'nothing'}, and not {url}")
    return "; ".join(wrong)


def _origin(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name in REDIRECTS:
        client = clients.get(name)
        if client and client.enabled and not {facts.public_url, "+", "*"} & set(client.origins):
            wrong.append(f"{name} accepts {', '.join(client.origins) or 'nothing'}")
    return "; ".join(wrong)


def too_wide(uri: str) -> bool:
    """Whether a redirect address stands for more than one host."""
    return uri == "*" or bool(re.fullmatch(r"https?://(?:[^/]*\*.*|\*)", uri))


def _loosened(facts: Facts) -> str:
    content = facts.postgres.content
    if content is None:
        return ""
    wrong = [f"sslRequired=none in {realm}" for realm, value in sorted(content.ssl_required.items()) if value.lower() == "none"]
    for client in content.clients:
        wide = [uri for uri in client.redirects if too_wide(uri)]
        wrong += [f"{client.client_id} redirects to {uri}" for uri in wide if client.enabled]
    return ", ".join(wrong)


def _admin_lost(facts: Facts) -> str:
    content = facts.postgres.content
    lost = content is not None and content.admins == 0 and not content.ops_client and "master" in content.realms
    return f"no enabled admin, and no {OPS_CLIENT}" if lost else ""


def _admin(facts: Facts) -> str:
    refused = facts.ready and facts.edge.admin in (400, 401, 403)
    return f"{OPS_CLIENT}: HTTP {facts.edge.admin} {facts.edge.admin_said}".strip() if refused else ""


def _locked(facts: Facts) -> str:
    number = len(facts.edge.locked)
    return f"{number} user{'s' if number > 1 else ''}: {', '.join(facts.edge.locked[:5])}" if number else ""


FAILURES = (
    Failure(
        "realm-missing", DOWN, "the realm cc03 is missing",
        "it was deleted, or the first deploy was broken off before it made it", source="import guide", shown=_realm_missing,
        remedy=by_hand(
            "inv logs postgres --since 1h shows who dropped or renamed it",
            "restore Keycloak's database from the last backup, beside the others, then inv restart keycloak",
            "only where no user was ever made: inv deploy makes the realm as declared",
            leaves="realms that there are: nothing is imported over them", users="logins stop until it is back",
            dump_first=True,
        ),
        explains=("realm-keys", "client-missing", "redirect-uri", "web-origin", "edge-fails"),
    ),
    Failure(
        "realm-disabled", DOWN, "the realm cc03 is disabled", "it was switched off: every login is refused",
        source="server administration guide", shown=_realm_disabled,
        remedy=admin_api("switch the realm on", "switch it on through the admin API"), explains=("realm-keys", "edge-fails"),
    ),
    Failure(
        "realm-file-name", RISK, "an import file is not named after its realm", "the import of a first start refuses it",
        source="import guide", shown=_file_name, lines=(Line(r"File name / realm name mismatch", "import guide"),),
        remedy=released(
            sealed="no --import-realm: inv deploy makes the realm as config/keycloak/realm.yaml declares it", leaves=DATA,
        ),
        explains=("realm-missing", "realm-import-failed", *NOT_STARTED),
    ),
    Failure(
        "realm-import-failed", DOWN, "the import of a realm file failed",
        "the file is of another version of Keycloak, or damaged; --import-realm ends the start with it",
        source="import guide; #36284 #49152",
        lines=(Line(
            r"Failed to (?:run import|import realm)|Unable to import realm|Session not bound to a realm"
            r"|Script upload is disabled"
            r"|(?:Unrecognized field|UnrecognizedProperty|Cannot deserialize|MismatchedInput)[^\n]*keycloak\.representations",
            "ServicesLogger, ExportImportManager 26.7.3; #36284 #49152",
        ),),
        remedy=released(
            sealed="no --import-realm: inv deploy makes the realm as config/keycloak/realm.yaml declares it",
            leaves="realms that there are: nothing is imported over them",
        ),
        explains=("realm-missing", *NOT_STARTED),
    ),
    Failure(
        "realm-keys", DOWN, "the realm has no active signing key",
        "no token can be made, and the API refuses those that there are", source="DefaultKeyManager", shown=_keys,
        lines=(Line(
            r"Failed to (?:find|create fallback) key(?: for realm)?: realm=\S+ algorithm=\S+ use=SIG"
            r"|Active key for realm .* not found",
            "DefaultKeyManager", serving=True,
        ),),
        remedy=admin_api(
            "switch the realm's key providers on",
            "switch the key providers on again; a new key only where the realm has none that signs",
            leaves="old keys: tokens signed with them stay valid",
        ),
        explains=("admin-refused", "healthcheck-wrong"),
    ),
    Failure(
        "client-missing", DOWN, "a client of this product is missing or disabled", "logins that name it are refused",
        source="config/keycloak/realm.yaml", shown=_client_missing,
        remedy=admin_api(
            "make the client as declared", "make it as it is declared: inv keycloak.apply", leaves=NO_WILDCARD,
            dump_first=True,
        ),
        explains=("redirect-uri", "web-origin"),
    ),
    Failure(
        "redirect-uri", DOWN, "a client does not accept the public URL as its redirect",
        "the realm is that of another address: logins end with invalid_redirect_uri", source="securing applications guide",
        shown=_redirect,
        remedy=admin_api("give the client its exact redirect address", "add the exact URL to the client", leaves=NO_WILDCARD),
        explains=("web-origin",),
    ),
    Failure(
        "web-origin", DEGRADED, "a client does not accept the public URL as an origin",
        "browsers refuse the answers of the token endpoint (CORS)", source="securing applications guide", shown=_origin,
        remedy=admin_api("give the client its exact origin", "add the exact origin to the client", leaves=NO_WILDCARD),
    ),
    Failure(
        "security-loosened", RISK, "the realm is more open than it should be",
        "a wildcard redirect hands codes to strangers; sslRequired=none lets passwords travel in the clear",
        source="server administration guide", shown=_loosened,
        remedy=admin_api("tighten the realm again", "restore the exact URL, and sslRequired=external"),
    ),
    Failure(
        "admin-lost", RISK, "nobody can administer Keycloak",
        "no enabled user of the realm master is admin, and the operations client is gone or disabled",
        source="bootstrap-admin guide", shown=_admin_lost,
        remedy=Remedy(
            "with Keycloak stopped: bootstrap-admin service; make the operations client good; remove the temporary account",
            (Way.BOOTSTRAP_ADMIN,), leaves=USERS, users="logins pause for about a minute", dump_first=True,
            advice=(
                "inv logs keycloak --since 10m; inv logs postgres --since 10m: why bootstrap-admin failed",
                "inv keycloak.fix tries it again; else restore Keycloak's database from the last backup",
            ),
        ),
        explains=("admin-refused",),
    ),
    Failure(
        "admin-refused", RISK, "the operations client is refused",
        "its secret in Keycloak and the one of the state folder differ, or it is disabled", source="bootstrap-admin guide",
        shown=_admin, momentary=True,
        remedy=admin_api(
            "give cc03-ops the secret of the state folder",
            (
                "give the client cc03-ops the secret of the state folder, in the name of the first administrator, else by "
                "bootstrap-admin"
            ),
            ways=(Way.ADMIN_API, Way.BOOTSTRAP_ADMIN),
        ),
    ),
    Failure(
        "users-locked", DEGRADED, "users are locked by brute-force protection",
        "their logins failed five times in a row; it ends by itself within 15 minutes", source="#13782", shown=_locked,
        remedy=admin_api(
            "clear the lock of these users",
            "clear the lock of each of these users only; after asking where so many fail that somebody may be guessing",
            leaves="the protection itself; every other user",
        ),
    ),
)  # fmt: skip
