"""What a person is told to do where a finding is not mended here: commands to type, in order."""

from __future__ import annotations

from collections.abc import Mapping

from ops.keycloak.failures import data as modes_data
from ops.keycloak.failures import realm as modes_realm
from ops.keycloak.failures.failure import Finding
from ops.keycloak.repair.containers import migrating
from ops.keycloak.repair.situation import Instructions, Situation

_BACKUP = (
    "inv logs postgres --since 1h shows who dropped or renamed it",
    "restore Keycloak's database from the last backup, beside the others, then inv restart keycloak",
)
_RELEASE = (
    "correct compose/keycloak or config/keycloak in the checkout: {repair}",
    "then inv deploy; it puts this release back where the new one does not serve",
)
_UP = (
    "inv logs {service} --since 30m: its last lines say why it does not come up",
    "inv rollback to a release that has served, or correct the cause in the checkout and inv deploy",
)
_DATABASE = ("inv logs postgres --since 10m: why the statements were refused", "then, as its superuser: {repair}")
_REALM = ("inv logs keycloak --since 10m; inv open names the admin console", "there: {repair}")
_NGINX = ("inv logs nginx --since 10m", "inv deploy puts its configuration and its certificate right")
_CERTIFICATE = (
    "inv certs: from whom the site's certificate is, until when it is good, and why its renewal failed",
    "inv certs.acme has the issuer make another one; one of your own: inv certs.import CERT KEY",
    "until then inv certs.import --remove shows the project's own, which browsers trust where its authority is installed",
)
OF_THE_SITE = ("certificate-untrusted", "certificate-expires")
UP: Mapping[str, str] = {
    "postgres-down": "postgres", "nginx-down": "nginx",
    **dict.fromkeys(("stopped", "exited", "crash-loop", "not-ready", "container-missing", "container-lost"), "keycloak"),
}  # fmt: skip
"""Finding of something that does not come up -> the service whose log says why."""
BEHIND_NGINX = ("edge-fails", "certificate-untrusted", "certificate-expires", "certificate-stale")
BY_HAND: Mapping[str, tuple[str, ...]] = {
    "postgres-silent": (
        "inv logs postgres --since 10m: while it says recovery or startup, wait; it ends by itself",
        "if nothing moves for ten minutes: inv restart postgres, then inv keycloak.fix",
    ),
    "postgres-full": (
        "inv logs postgres --since 10m; then, as postgres in its container: "
        "psql -c \"SELECT usename, client_addr, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC\"",
        "stop the program that holds them; end only sessions that are idle and of no service",
    ),
    "disk-full": (
        "df -h, then du -xh --max-depth=3 on the full one: old dumps (inv backup), logs and images (inv status) come first",
        "never delete files of PostgreSQL's volume; once there is space: inv keycloak, then inv keycloak.fix for what is left",
    ),
    "postgres-read-only": (
        "as postgres in its container: psql -c \"SELECT pg_is_in_recovery(); SHOW default_transaction_read_only\"",
        "a standby: promote it, or let db-url-host name the primary; a setting of the server: ALTER SYSTEM RESET "
        "default_transaction_read_only, SELECT pg_reload_conf()",
    ),
    "postgres-hba": (
        "inv logs postgres --since 10m names role, database, address and whether TLS was used",
        "in the checkout: a line `hostssl keycloak keycloak samenet scram-sha-256` in config/postgres/pg_hba.conf; inv deploy",
    ),
    "postgres-tls-off": (
        "as postgres in its container: psql -c \"SHOW ssl\"; inv keycloak --json shows which db-url-host Keycloak has",
        "in the checkout: ssl = on in config/postgres/postgresql.conf, then inv deploy; sslmode=verify-full stays as it is",
    ),
    "migration-timeout": (
        "leave Keycloak stopped; inv logs keycloak --since 1h names the last change set; inv keycloak shows who blocks it",
        "in the checkout: transaction-setup-timeout=60m in config/keycloak/keycloak.conf, start_period in compose.yaml no less",
        "inv deploy: it dumps first, and goes on with the change sets that are left",
    ),
    "event-loop-blocked": (
        "inv status: CPU and memory of keycloak at their limit? raise them in config/stack.yaml, then inv deploy",
        "else inv logs keycloak --since 10m: the frames below the line name the code; a provider of your own goes first",
    ),
    "theme-broken": (
        "inv logs keycloak --since 10m names theme, template and line",
        "admin console, Realm settings, Themes: keycloak.v2 lets users log in at once; then correct the theme, inv deploy",
    ),
    "theme-missing": (
        "inv logs keycloak --since 10m names the theme; inv keycloak.export shows loginTheme of the realm",
        "admin console, Realm settings, Themes: one that is in the list; or put the theme into the image, inv deploy",
    ),
    "ldap-fails": (
        "inv logs keycloak --since 10m names the server and LDAP's reason (error code 49: the bind password is wrong)",
        "admin console, User federation: Test connection, Test authentication; correct URL, bind DN or password there",
        "while the directory is away: switch the provider off there, so that other users need not wait for it",
    ),
    "identity-provider-fails": (
        "inv logs keycloak --since 10m names the provider's answer (invalid_client: its secret is another)",
        "admin console, Identity providers: correct client id, secret, URLs or keys; logins by password go on meanwhile",
    ),
    "mail-fails": (
        "inv logs keycloak --since 10m names host, port and the mail server's answer (535: user or password is wrong)",
        "admin console, Realm settings, Email: correct it, Test connection",
    ),
    "database-missing": _BACKUP,
    "realm-missing": _BACKUP,
    "encoding": (
        "dump the database, make it anew with ENCODING 'UTF8', restore, compare the counts of realms and users",
        "plan some minutes without logins; nothing changes until then",
    ),
    "migration-failed": (
        "leave Keycloak stopped: inv logs keycloak --since 1h names the change set",
        "restore the dump from before the upgrade, and inv rollback to the release that it belongs to",
    ),
    "schema-newer": (
        "inv releases: deploy or roll back to a release with the newer Keycloak (the line `saw` names it)",
        "or restore the dump from before the upgrade; the schema is never downgraded in place",
    ),
    "pool-exhausted": (
        "as postgres in its container: psql -d keycloak -c \"SELECT pid, state, wait_event_type, now() - xact_start, "
        "left(query, 80) FROM pg_stat_activity WHERE state <> 'idle' ORDER BY 4 DESC\"",
        "end a session that blocks the others if it is nobody's (pg_blocking_pids); else lower http-pool-max-threads in "
        "config/keycloak/keycloak.conf, then inv deploy",
    ),
    "memory-near-limit": (
        "raise resources.keycloak.memory in config/stack.yaml (2 GB serve a small production), then inv deploy",
    ),
    "cpu-throttled": ("raise resources.keycloak.cpus in config/stack.yaml, then inv deploy",),
    "peer-untrusted": (
        "inv logs keycloak --since 1h names the server; openssl s_client -showcerts shows whose certificate it has",
        "put that authority's certificate into compose/keycloak, its path into truststore-paths (keycloak.conf)",
        "then inv deploy",
    ),
    "clock-skew": (
        "timedatectl (or date -u beside another host) shows which clock is wrong",
        "apt-get install chrony; chronyc makestep; then inv keycloak",
    ),
}  # fmt: skip
"""Finding -> what to do, where nothing here may decide it."""


def instructions(situation: Situation, finding: Finding) -> Instructions:
    """For a finding that cannot be mended, or that no way has mended."""
    if situation.wanted is None:
        lines: tuple[str, ...] = (
            "there is no intact current release to go back to: inv releases shows which are",
            "inv rollback to one that is intact, or inv deploy, which seals a new one",
        )
    elif migrating(situation.facts):
        lines = ("a migration of its own is under way: wait for its end (inv logs keycloak --follow), then inv keycloak.fix",)
    else:
        told = {"repair": finding.repair, "service": UP.get(finding.id, "")}
        elsewhere = situation.facts.edge.certificate_elsewhere and finding.id in OF_THE_SITE
        lines = (_CERTIFICATE if elsewhere else BY_HAND.get(finding.id)) or tuple(
            line.format(**told) for line in _family(finding.id)
        )
    return Instructions(finding.id, lines)


def _family(mode: str) -> tuple[str, ...]:
    """What is left to do for findings that are usually mended here."""
    if mode in UP:
        return _UP
    if mode in BEHIND_NGINX:
        return _NGINX
    if mode in {one.id for one in modes_data.MODES}:
        return _DATABASE
    return _REALM if mode in {one.id for one in modes_realm.MODES} else _RELEASE
