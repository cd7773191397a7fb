"""What shows failures of PostgreSQL, of Keycloak's schema, its realm and its accounts: a function for each failure, named as
it is, which says in words what the facts show; empty: they do not show it."""

from __future__ import annotations

import re

from ops.keycloak.failures.facts import OPS_CLIENT, REALM, ROLE, Client, Database, Facts, Role, Session
from ops.keycloak.schema.plan import Schema, Server, judge

SCARCE_BYTES = 64 << 20
"""Less than this is full: PostgreSQL writes its log in files of 16 MB, and Podman needs some for a start."""


def disk_full(facts: Facts) -> str:
    full = [f"{free >> 20} MB are free at {path}" for path, free in sorted(facts.disks.items()) if free < SCARCE_BYTES]
    return ", ".join(full)


def postgres_read_only(facts: Facts) -> str:
    where = facts.postgres.read_only
    if where == "standby":
        return "it is a standby (pg_is_in_recovery)"
    return f"default_transaction_read_only is on ({where})" if where else ""


def writable(facts: Facts) -> bool:
    return facts.database_seen() and not facts.postgres.read_only


def postgres_hba(facts: Facts) -> str:
    return facts.login_says(r"pg_hba\.conf")


def lock_table_rights(facts: Facts) -> str:
    owner = facts.postgres.schema.lock_owner if facts.postgres.schema else ROLE
    return f"databasechangeloglock belongs to {owner}" if owner not in ("", ROLE) else ""


FULL = "remaining connection slots|too many clients"


def _role(facts: Facts) -> Role:
    return facts.postgres.role or Role()


def _database(facts: Facts) -> Database:
    return facts.postgres.database or Database()


def postgres_down(facts: Facts) -> str:
    return f"its container is {facts.postgres.status}" if facts.postgres.status != "running" else ""


def postgres_silent(facts: Facts) -> str:
    postgres = facts.postgres
    silent = postgres.status == "running" and not postgres.answers and not re.search(FULL, postgres.said)
    return postgres.said or "no answer" if silent else ""


def postgres_full(facts: Facts) -> str:
    postgres = facts.postgres
    if said := facts.login_says(FULL) or (postgres.said if re.search(FULL, postgres.said) else ""):
        return said
    full = facts.database_seen() and postgres.connections >= postgres.max_connections
    return f"{postgres.connections} of {postgres.max_connections} connections" if full else ""


def role_missing(facts: Facts) -> str:
    return f"PostgreSQL has no role {ROLE}" if facts.database_seen() and facts.postgres.role is None else ""


def role_cannot_login(facts: Facts) -> str:
    role = _role(facts)
    wrong = [
        text for wrong, text in (
            (not role.login, "NOLOGIN"), (role.expired, "its password has expired"), (role.limit == 0, "CONNECTION LIMIT 0"),
        ) if wrong
    ]  # fmt: skip
    return ", ".join(wrong)


def password_drift(facts: Facts) -> str:
    return facts.login_says("password authentication failed|no password supplied")


def database_closed(facts: Facts) -> str:
    return "" if _database(facts).connectable else "ALLOW_CONNECTIONS is off"


def database_wrong_owner(facts: Facts) -> str:
    owner = _database(facts).owner
    return f"its owner is {owner}" if owner != ROLE else ""


def schema_rights(facts: Facts) -> str:
    schema = facts.postgres.schema
    if said := facts.login_says("permission denied for database"):
        return said
    if schema is None:
        return ""
    wrong = [] if schema.create else [f"{ROLE} may not create in schema public"]
    wrong += (
        [f"{schema.strangers} tables or sequences belong to other roles, or are closed to {ROLE}"] if schema.strangers else []
    )
    return ", ".join(wrong)


def encoding(facts: Facts) -> str:
    encoding = _database(facts).encoding
    return encoding if encoding != "UTF8" else ""


def database_missing(facts: Facts) -> str:
    return f"PostgreSQL has no database {ROLE}" if facts.database_seen() and facts.postgres.database is None else ""


AWAITING = 3.0
"""Requests that wait for a connection; one or two for an instant is what a pool is for."""
MOMENT_SECONDS = 10.0
"""Every Keycloak holds the lock for a moment when it starts; a second one, too."""


def changelog_lock(facts: Facts) -> str:
    schema = facts.postgres.schema
    holder = schema.holder if schema else None
    # Keycloak's own migration holds it as well, and then nobody waits.
    if schema is None or holder is None or (holder.address in facts.container.addresses and not schema.waiting):
        return ""
    if not schema.waiting and holder.seconds < MOMENT_SECONDS:
        return ""
    return f"{_described(holder)} has held it for {holder.seconds:.0f} s, {schema.waiting} waiting"


def _described(session: Session) -> str:
    return f"session {session.pid} from {session.address or 'its socket'} ({session.application or 'unnamed'})"


def schema_newer(facts: Facts) -> str:
    content, image = facts.postgres.content, facts.server
    if content is None or not content.version or not image.version:
        return ""
    known = bool(content.changesets and image.changesets)
    verdict = judge(
        Server(image.version, known, image.changesets if known else frozenset()), Schema(content.version, content.changesets)
    )
    if not verdict.downgrade:
        return ""
    foreign = f", with {len(verdict.foreign)} change sets that the image does not know" if verdict.foreign else ""
    return f"the schema is of {content.version}{foreign}, the image of {image.version}"


def role_connections_full(facts: Facts) -> str:
    if said := facts.login_says("too many connections for role"):
        return said
    role = facts.postgres.role
    full = role is not None and 0 < role.limit <= role.connections
    return f"{role.connections} of {role.limit} connections" if role and full else ""


def pool_exhausted(facts: Facts) -> str:
    waiting, active = facts.edge.pool_awaiting or 0.0, facts.edge.pool_active or 0.0
    return f"{waiting:.0f} requests wait, {active:.0f} connections are in use" if waiting >= AWAITING else ""


def second_keycloak(facts: Facts) -> str:
    own = facts.container.addresses
    others = [session for session in facts.postgres.sessions if session.address and session.address not in own]
    # Without addresses of its own, every session is a stranger's: a container that was just removed has left its sessions.
    jdbc = [session for session in others if "JDBC" in session.application]
    return ", ".join(sorted({_described(session) for session in jdbc})) if own else ""


def cluster_rows(facts: Facts) -> str:
    rows = facts.postgres.content.cluster_rows if facts.postgres.content else 0
    return f"{rows} rows" if rows else ""


REDIRECTS = {"cc03-frontend": "/", "cc03-grafana": "/grafana/login/generic_oauth"}
"""Client with a login of its own -> path below the public URL that it must accept (config/keycloak/realm.yaml)."""
NEEDED = (*REDIRECTS, "cc03-backend")


def _clients(facts: Facts) -> dict[str, Client]:
    content = facts.postgres.content
    return {client.client_id: client for client in content.clients} if content and content.realms.get(REALM) else {}


def realm_missing(facts: Facts) -> str:
    content = facts.postgres.content
    # A first deploy makes it once Keycloak is ready.
    gone = content is not None and REALM not in content.realms and facts.ready and not facts.under_way
    return f"the database holds {', '.join(sorted(content.realms)) or 'no realm'}" if content and gone else ""


def realm_disabled(facts: Facts) -> str:
    content = facts.postgres.content
    return "enabled is false in the database" if content and content.realms.get(REALM) is False else ""


def realm_file_name(facts: Facts) -> str:
    files = facts.server.realm_files.items()
    return ", ".join(f"{name} holds the realm {realm}" for name, realm in files if name != f"{realm}-realm.json")


def realm_keys(facts: Facts) -> str:
    content = facts.postgres.content
    if not facts.ready or content is None or REALM not in content.realms:
        return ""
    if facts.edge.signing_keys == 0:
        return "it hands out no key for signatures"
    off = [name for name, active in content.key_providers.items() if not active]
    if content.key_providers and len(off) < len(content.key_providers):
        return ""
    return f"key providers that sign: {', '.join(off) + ' (disabled or passive)' if off else 'none'}"


def client_missing(facts: Facts) -> str:
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


def redirect_uri(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name, path in REDIRECTS.items():
        client, url = clients.get(name), facts.public_url + path
        if client and client.enabled and not any(accepts(pattern, url) for pattern in client.redirects):
            wrong.append(f"{name} accepts {', '.join(client.redirects) or 'nothing'}, and not {url}")
    return "; ".join(wrong)


def web_origin(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name in REDIRECTS:
        client = clients.get(name)
        if client and client.enabled and not {facts.public_url, "+", "*"} & set(client.origins):
            wrong.append(f"{name} accepts {', '.join(client.origins) or 'nothing'}")
    return "; ".join(wrong)


def too_wide(uri: str) -> bool:
    """Whether a redirect address stands for more than one host."""
    return uri == "*" or bool(re.fullmatch(r"https?://(?:[^/]*\*.*|\*)", uri))


def security_loosened(facts: Facts) -> str:
    content = facts.postgres.content
    if content is None:
        return ""
    wrong = [f"sslRequired=none in {realm}" for realm, value in sorted(content.ssl_required.items()) if value.lower() == "none"]
    for client in content.clients:
        wide = [uri for uri in client.redirects if too_wide(uri)]
        wrong += [f"{client.client_id} redirects to {uri}" for uri in wide if client.enabled]
    return ", ".join(wrong)


def admin_lost(facts: Facts) -> str:
    content = facts.postgres.content
    lost = content is not None and content.admins == 0 and not content.ops_client and "master" in content.realms
    return f"no enabled admin, and no {OPS_CLIENT}" if lost else ""


def admin_refused(facts: Facts) -> str:
    refused = facts.ready and facts.edge.admin in (400, 401, 403)
    return f"{OPS_CLIENT}: HTTP {facts.edge.admin} {facts.edge.admin_said}".strip() if refused else ""


def users_locked(facts: Facts) -> str:
    number = len(facts.edge.locked)
    return f"{number} user{'s' if number > 1 else ''}: {', '.join(facts.edge.locked[:5])}" if number else ""


SKEW_SECONDS = 5.0
"""Half of what Keycloak allows (10 s since 26.6): two clocks that are each within it may not be so together."""


def clock_skew(facts: Facts) -> str:
    clocks = (("Keycloak", facts.edge.clock_offset), ("PostgreSQL", facts.postgres.clock_offset))
    wrong = [(who, off) for who, off in clocks if off is not None and abs(off) > SKEW_SECONDS]
    return ", ".join(f"{who} is {off:+.0f} s off this host's" for who, off in wrong)


def theme_found(facts: Facts) -> bool:
    """Whoever asks for the resources of a theme by any name makes Keycloak look for it: only the realm's own counts."""
    content = facts.postgres.content
    theme = content.login_theme if content else ""
    return content is not None and not (theme and any(f"LOGIN theme {theme}," in line.text for line in facts.log))
