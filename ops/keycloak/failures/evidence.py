"""What the facts show of each failure, in words; empty: they do not show it. What a log says is not read here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from ops.keycloak.failures.facts import OPS_CLIENT, REALM, ROLE, Client, Content, Database, Facts, Role, Session
from ops.keycloak.schema.plan import Schema, Server, judge

HEAP_PERCENT = 85.0
"""Of the container's memory: beyond it the rest of the JVM (about 300 MB) has no room in 2 GB."""
FULL = 0.93
"""Part of the memory limit from which on it counts as nearly used up; 70 % heap and 300 MB are 85 % of 2 GB."""
THROTTLED = 0.7
"""Part of the CPU periods in which it was held back. A start is always so, and is not judged."""
PERIODS = 10
ORDERLY = (0, 143)
"""Exit codes of a stop: Java answers SIGTERM with 128 + 15."""
KILLED = 137
SCARCE_BYTES = 64 << 20
"""Less than this is full: PostgreSQL writes its log in files of 16 MB, and Podman needs some for a start."""
SKEW_SECONDS = 5.0
"""Half of what Keycloak allows (10 s since 26.6): two clocks that are each within it may not be so together."""
EXPIRES_DAYS = 7.0
"""inv deploy and the ticker renew long before."""
AWAITING = 3.0
"""Requests that wait for a connection; one or two for an instant is what a pool is for."""
MOMENT_SECONDS = 10.0
"""Every Keycloak holds the lock for a moment when it starts; a second one, too."""
NO_CONNECTION_LEFT = "remaining connection slots|too many clients"
BUILD_OPTIONS = {
    "db": "postgres", "http-relative-path": "/auth", "http-management-relative-path": "/", "health-enabled": "true",
    "metrics-enabled": "true", "event-metrics-user-enabled": "true",
}  # fmt: skip
"""What compose/keycloak/Containerfile builds in, and this stack relies on."""
BUILD_ONLY = frozenset({*BUILD_OPTIONS, "features", "features-disabled", "transaction-xa-enabled"})
"""Options that act when the image is built (all configuration guide, build options)."""
REMOVED = {
    "proxy": "proxy-headers and http-enabled", "hostname-url": "hostname", "hostname-admin-url": "hostname-admin",
    "hostname-path": "hostname", "hostname-port": "hostname", "hostname-strict-https": "hostname with https://",
    "hostname-strict-backchannel": "hostname-backchannel-dynamic", "http-log-enabled": "http-access-log-enabled",
    "legacy-observability-interface": "the management port 9000",
}  # fmt: skip
"""Option that is gone -> what takes its place (upgrading guides 25.0 and 26.0)."""
DEPRECATED_VARIABLES = {
    "KEYCLOAK_ADMIN": "KC_BOOTSTRAP_ADMIN_USERNAME",
    "KEYCLOAK_ADMIN_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
}
"""Variable that still acts -> what will take its place (upgrading guide 26.0)."""
REMOVED_VARIABLES = {
    "KEYCLOAK_USER": "KC_BOOTSTRAP_ADMIN_USERNAME", "KEYCLOAK_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
    "KEYCLOAK_FRONTEND_URL": "KC_HOSTNAME", "PROXY_ADDRESS_FORWARDING": "KC_PROXY_HEADERS",
    "DB_VENDOR": "KC_DB", "DB_ADDR": "KC_DB_URL_HOST", "DB_PASSWORD": "KC_DB_PASSWORD",
}  # fmt: skip
REDIRECTS = {
    "cc03-frontend": "/", "cc03-grafana": "/grafana/login/generic_oauth", "cc03-ops-pages": "/ops/oauth2/callback",
}  # fmt: skip
"""Client with a login of its own -> path below the public URL that it must accept (config/keycloak/realm.yaml)."""
ORIGINS = ("cc03-frontend", "cc03-grafana")
"""Those of them that must accept the public URL as an origin. oauth2-proxy asks for tokens itself, no script of a page does."""
NEEDED = (*REDIRECTS, "cc03-backend")


def shown(facts: Facts) -> Mapping[str, str]:
    """Each failure that facts can show -> what they show of it."""
    return {**_container(facts), **_image(facts), **_address(facts), **_postgres(facts), **_schema(facts), **_realm(facts)}


def _if(condition: object, words: str) -> str:
    return words if condition else ""


def _listed(words: Iterable[str], before: str = "", after: str = "") -> str:
    """Words, where there are any, between others."""
    return f"{before}{said}{after}" if (said := ", ".join(words)) else ""


# The container and its limits.


def _container(facts: Facts) -> dict[str, str]:
    it, edge, ready, percent = facts.container, facts.edge, facts.ready, heap_percent(facts)
    ended = it.status in ("exited", "stopped")
    code = it.exit_code if it.status == "exited" else it.last_exit
    used, limit = it.memory_bytes or 0, it.memory_limit_bytes or 0
    periods, throttled = it.cpu_periods or 0, it.cpu_throttled or 0
    unready = facts.running and edge.ready not in (None, 200) and not facts.starting and not facts.looping
    disks = sorted(facts.disks.items())
    clocks = (("Keycloak", edge.clock_offset), ("PostgreSQL", facts.postgres.clock_offset))
    return {
        "container-missing": _if(it.status == "missing", "Podman knows no container of it"),
        "container-lost": _if(it.status == "lost", "Podman says that it runs; neither its process nor its monitor exists"),
        "heap-too-large": _if(
            percent and percent > HEAP_PERCENT, f"the heap may take {percent or 0:.0f} % of the container's memory"
        ),
        "out-of-memory": _if(
            not ready and (it.oom_killed or code == KILLED),
            f"exit code {code}" + (", killed for lack of memory" if it.oom_killed else ""),
        ),
        # More than the limit is what was read of another control group, while the container is between two starts.
        "memory-near-limit": _if(limit and FULL * limit <= used <= limit, f"{used >> 20} MB of {limit >> 20} MB"),
        "cpu-throttled": _if(
            ready and periods >= PERIODS and throttled >= THROTTLED * periods,
            f"held back in {throttled} of the last {periods} periods of its CPU limit",
        ),
        "crash-loop": _if(facts.looping, f"{it.restarts} restarts, the last {it.running_seconds or 0:.0f} s ago"),
        "stopped": _if(
            it.status in ("created", "paused", "stopping") or (ended and it.exit_code in ORDERLY), f"it is {it.status}"
        ),
        "exited": _if(ended and it.exit_code not in ORDERLY, f"exit code {it.exit_code}"),
        "not-ready": _if(unready, f"after {it.running_seconds or 0:.0f} s: {edge.ready_said or f'HTTP {edge.ready}'}"),
        "healthcheck-wrong": _if(
            ready and it.healthcheck == "unhealthy", it.healthcheck_said or "Podman says unhealthy, port 9000 says ready"
        ),
        "management-plain": _if(edge.management_plain, "TLS was refused on port 9000, plain HTTP was not"),
        "secret-missing": _listed(it.empty_secrets, "the state folder holds no value of "),
        "secret-stale": _listed(it.stale_secrets if facts.running else ()),
        "disk-full": _listed(f"{free >> 20} MB are free at {path}" for path, free in disks if free < SCARCE_BYTES),
        "clock-skew": _listed(
            f"{who} is {off:+.0f} s off this host's" for who, off in clocks if off is not None and abs(off) > SKEW_SECONDS
        ),
    }


def heap_percent(facts: Facts) -> float | None:
    """Largest heap in percent of the container's memory, by the JVM's own options."""
    limit = facts.container.memory_limit_bytes
    # What the JVM and its launcher read themselves: kc.sh, which reads JAVA_OPTS, is not run here.
    read = (facts.server.environment.get(name, "") for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"))
    words = " ".join((*facts.server.jvm, *facts.server.command, *read))
    if match := re.findall(r"-Xmx(\d+)([kmg])\b", words, re.IGNORECASE):
        number, unit = match[-1]
        size = int(number) << {"k": 10, "m": 20, "g": 30}[unit.lower()]
        return 100 * size / limit if limit else None
    percents = re.findall(r"-XX:MaxRAMPercentage=([\d.]+)", words)
    return float(percents[-1]) if percents else None


# The image, its options, and the built-in database H2.


def _image(facts: Facts) -> dict[str, str]:
    server, given, built = facts.server, facts.given(), facts.server.built or {}
    rebuilds = "start" in server.command and "--optimized" not in server.command
    h2 = _h2(facts, rebuilds=rebuilds)
    asked = {**BUILD_OPTIONS, **{name: value for name, value in given.items() if name in BUILD_ONLY}}
    differing = [name for name in sorted(asked) if built.get(name) != asked[name] and not (name == "db" and h2)]
    removed = [f"{name} (now: {REMOVED[name]})" for name in given if name in REMOVED]
    removed += [f"{name} (now: {REMOVED_VARIABLES[name]})" for name in server.environment if name in REMOVED_VARIABLES]
    dev = "start-dev" if "start-dev" in server.command else _if(built.get("profile") == "dev", "profile dev is built in")
    return {
        "image-not-built": _if(server.built == {} and not facts.ready, "the image holds no persisted build options"),
        "build-options-differ": "; ".join(
            f"{name}: built {built.get(name, '(nothing)')}, wanted {asked[name]}" for name in differing if built
        ),
        # A deploy writes the configuration before it seals the release.
        "config-edited": _listed(server.edited if not facts.under_way else (), "not as in the release: "),
        "rebuilds-at-start": _if(rebuilds, "start without --optimized"),
        "dev-mode": dev,
        "option-removed": _listed(sorted(removed)),
        "provider-option-old-name": _listed(sorted(name for name in given if name.startswith("spi-") and "--" not in name)),
        "sessions-not-persistent": _if(
            "persistent-user-sessions" in built.get("features-disabled", "").split(","), "persistent-user-sessions is disabled"
        ),
        "h2-in-use": h2,
        "h2-leftovers": _listed(server.h2_files),
    }


def _h2(facts: Facts, *, rebuilds: bool) -> str:
    # One that was never built has a finding of its own. What is set beside another value that is built in ends the start.
    if not facts.server.built:
        return ""
    kind, how = facts.server.built.get("db"), "built in"
    if rebuilds and "db" in facts.given():
        kind, how = facts.given()["db"], "set"
    if kind and not kind.startswith("dev-"):
        return ""
    # Unset, it is dev-file.
    return f"db={kind} is {how}" if kind else "db is not built in"


# Host name, proxy and certificates.


def _address(facts: Facts) -> dict[str, str]:
    edge, given, known = facts.edge, facts.given(), facts.server.options is not None
    days = edge.certificate_days
    secure = urlsplit(facts.public_url).scheme == "https"
    plain = [name for name, url in sorted(edge.discovery.items()) if secure and url.startswith("http://")]
    failing = facts.ready and edge.public not in (None, 200) and not edge.certificate_said
    return {
        "hostname-unset": _if(
            known and given.get("hostname-strict", "true") == "true" and not given.get("hostname"), "hostname is not set"
        ),
        "hostname-wrong": _wrong_host_name(facts),
        # One that is set to what there is not ends the start, and the log says so.
        "proxy-headers": _if(known and not given.get("proxy-headers"), "proxy-headers is not set")
        or _listed(plain, "the discovery document has http:// in "),
        "https-key-missing": _if(
            known and not facts.reachable() and not facts.ready, "http-enabled is not true, and there is no certificate"
        ),
        "truststore-missing": _listed(facts.server.truststores_missing, "truststore-paths names ", ", which is not there"),
        "nginx-down": _if(facts.nginx != "running", f"its container is {facts.nginx}"),
        "edge-fails": _if(failing, f"the discovery document: {edge.public_said or f'HTTP {edge.public}'} through nginx"),
        "certificate-untrusted": edge.certificate_said or _if(days is not None and days <= 0, "it has expired"),
        "certificate-expires": _if(days is not None and 0 < days < EXPIRES_DAYS, f"in {days or 0:.1f} days"),
        "certificate-stale": _if(edge.certificate_stale, "what nginx shows is not certs/nginx/cert.pem"),
    }


def _wrong_host_name(facts: Facts) -> str:
    expected, issuer = f"{facts.public_url}/auth/realms/{REALM}", facts.edge.discovery.get("issuer")
    if issuer and issuer != expected and not _only_scheme(issuer, expected):
        return f"the issuer is {issuer}, it should be {expected}"
    hostname = facts.given().get("hostname")
    wrong = hostname and hostname != f"{facts.public_url}/auth" and not issuer
    return _if(wrong, f"hostname={hostname}, it should be {facts.public_url}/auth")


def _only_scheme(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.scheme != second.scheme and first.hostname == second.hostname and first.path == second.path


# PostgreSQL, the role and the database.


def _postgres(facts: Facts) -> dict[str, str]:
    postgres, seen, says = facts.postgres, facts.database_seen(), facts.login_says
    role, database = postgres.role or Role(), postgres.database or Database()
    no_slot = bool(re.search(NO_CONNECTION_LEFT, postgres.said))
    cannot = {"NOLOGIN": not role.login, "its password has expired": role.expired, "CONNECTION LIMIT 0": role.limit == 0}
    read_only = "it is a standby (pg_is_in_recovery)"
    if postgres.read_only != "standby":
        read_only = _if(postgres.read_only, f"default_transaction_read_only is on ({postgres.read_only})")
    return {
        "postgres-read-only": read_only,
        "postgres-hba": says(r"pg_hba\.conf"),
        "postgres-down": _if(postgres.status != "running", f"its container is {postgres.status}"),
        "postgres-silent": _if(
            postgres.status == "running" and not postgres.answers and not no_slot, postgres.said or "no answer"
        ),
        "postgres-full": says(NO_CONNECTION_LEFT)
        or _if(no_slot, postgres.said)
        or _if(
            seen and postgres.connections >= postgres.max_connections,
            f"{postgres.connections} of {postgres.max_connections} connections",
        ),
        "role-missing": _if(seen and postgres.role is None, f"PostgreSQL has no role {ROLE}"),
        "role-cannot-login": _listed(words for words, wrong in cannot.items() if wrong),
        "role-connections-full": says("too many connections for role")
        or _if(0 < role.limit <= role.connections, f"{role.connections} of {role.limit} connections"),
        "password-drift": says("password authentication failed|no password supplied"),
        "database-missing": _if(seen and postgres.database is None, f"PostgreSQL has no database {ROLE}"),
        "database-closed": _if(not database.connectable, "ALLOW_CONNECTIONS is off"),
        "database-wrong-owner": _if(database.owner != ROLE, f"its owner is {database.owner}"),
        "encoding": _if(database.encoding != "UTF8", database.encoding),
    }


# The schema, and the sessions on it.


def _schema(facts: Facts) -> dict[str, str]:
    postgres, own, edge = facts.postgres, facts.container.addresses, facts.edge
    schema, rows = postgres.schema, postgres.content.cluster_rows if postgres.content else 0
    owner, wrong = schema.lock_owner if schema else ROLE, list[str]()
    if schema and not schema.create:
        wrong.append(f"{ROLE} may not create in schema public")
    if schema and schema.strangers:
        wrong.append(f"{schema.strangers} tables or sequences belong to other roles, or are closed to {ROLE}")
    # Without addresses of its own, every session is a stranger's: a container that was just removed has left its sessions.
    others = {one for one in postgres.sessions if own and one.address and one.address not in own and "JDBC" in one.application}
    waiting, active = edge.pool_awaiting or 0.0, edge.pool_active or 0.0
    return {
        "lock-table-rights": _if(owner not in ("", ROLE), f"databasechangeloglock belongs to {owner}"),
        "schema-rights": facts.login_says("permission denied for database") or ", ".join(wrong),
        "changelog-lock": _lock(facts),
        "schema-newer": _newer(facts),
        "pool-exhausted": _if(waiting >= AWAITING, f"{waiting:.0f} requests wait, {active:.0f} connections are in use"),
        "second-keycloak": _listed(sorted({_described(one) for one in others})),
        "cluster-rows": _if(rows, f"{rows} rows"),
    }


def _lock(facts: Facts) -> str:
    schema = facts.postgres.schema
    holder = schema.holder if schema else None
    # Keycloak's own migration holds it as well, and then nobody waits.
    if schema is None or holder is None or (holder.address in facts.container.addresses and not schema.waiting):
        return ""
    held = schema.waiting or holder.seconds >= MOMENT_SECONDS
    return _if(held, f"{_described(holder)} has held it for {holder.seconds:.0f} s, {schema.waiting} waiting")


def _described(session: Session) -> str:
    return f"session {session.pid} from {session.address or 'its socket'} ({session.application or 'unnamed'})"


def _newer(facts: Facts) -> str:
    content, image = facts.postgres.content, facts.server
    if content is None or not content.version or not image.version:
        return ""
    known = bool(content.changesets and image.changesets)
    server = Server(image.version, known, image.changesets if known else frozenset())
    verdict = judge(server, Schema(content.version, content.changesets))
    foreign = _if(verdict.foreign, f", with {len(verdict.foreign)} change sets that the image does not know")
    return _if(verdict.downgrade, f"the schema is of {content.version}{foreign}, the image of {image.version}")


# The realm, its clients and accounts.


def _realm(facts: Facts) -> dict[str, str]:
    content, edge, there = facts.postgres.content or Content(), facts.edge, facts.postgres.content is not None
    realms, locked = content.realms, facts.edge.locked
    clients = {one.client_id: one for one in content.clients} if realms.get(REALM) else {}
    login = [(clients[name], facts.public_url + path) for name, path in REDIRECTS.items() if name in clients]
    login = [(client, url) for client, url in login if client.enabled]
    lost = content.admins == 0 and not content.ops_client and "master" in realms
    return {
        # A first deploy makes it once Keycloak is ready.
        "realm-missing": _if(
            there and REALM not in realms and facts.ready and not facts.under_way,
            f"the database holds {', '.join(sorted(realms)) or 'no realm'}",
        ),
        "realm-disabled": _if(realms.get(REALM) is False, "enabled is false in the database"),
        "realm-file-name": _listed(
            f"{name} holds the realm {realm}"
            for name, realm in facts.server.realm_files.items() if name != f"{realm}-realm.json"
        ),
        "realm-keys": _if(facts.ready and REALM in realms, _keys(content, edge.signing_keys)),
        "client-missing": _listed(
            f"{name} is {'disabled' if name in clients else 'missing'}"
            for name in NEEDED if clients and (name not in clients or not clients[name].enabled)
        ),
        "redirect-uri": "; ".join(
            f"{client.client_id} accepts {', '.join(client.redirects) or 'nothing'}, and not {url}"
            for client, url in login if not any(accepts(pattern, url) for pattern in client.redirects)
        ),
        "web-origin": "; ".join(
            f"{client.client_id} accepts {', '.join(client.origins) or 'nothing'}"
            for client, _ in login if client.client_id in ORIGINS and not {facts.public_url, "+", "*"} & set(client.origins)
        ),
        "security-loosened": _listed((*_open_realms(content), *_wide(content.clients))),
        "admin-lost": _if(lost, f"no enabled admin, and no {OPS_CLIENT}"),
        "admin-refused": _if(
            facts.ready and edge.admin in (400, 401, 403), f"{OPS_CLIENT}: HTTP {edge.admin} {edge.admin_said}".strip()
        ),
        "users-locked": _if(locked, f"{len(locked)} user{'s' if len(locked) > 1 else ''}: {', '.join(locked[:5])}"),
    }  # fmt: skip


def _keys(content: Content, signing: int | None) -> str:
    if signing == 0:
        return "it hands out no key for signatures"
    off = [name for name, active in content.key_providers.items() if not active]
    none = not content.key_providers or len(off) == len(content.key_providers)
    return _if(none, f"key providers that sign: {', '.join(off) + ' (disabled or passive)' if off else 'none'}")


def accepts(pattern: str, url: str) -> bool:
    """Whether a redirect URI of Keycloak covers a URL; a `*` at its end stands for anything."""
    return url.startswith(pattern[:-1]) if pattern.endswith("*") else url == pattern


def too_wide(uri: str) -> bool:
    """Whether a redirect address stands for more than one host."""
    return uri == "*" or bool(re.fullmatch(r"https?://(?:[^/]*\*.*|\*)", uri))


def _open_realms(content: Content) -> list[str]:
    return [f"sslRequired=none in {realm}" for realm, value in sorted(content.ssl_required.items()) if value.lower() == "none"]


def _wide(clients: Iterable[Client]) -> list[str]:
    found = ((one, uri) for one in clients if one.enabled for uri in one.redirects if too_wide(uri))
    return [f"{one.client_id} redirects to {uri}" for one, uri in found]
