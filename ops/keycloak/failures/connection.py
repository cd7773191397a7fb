"""Failures of what Keycloak needs for PostgreSQL: disk, access rules, certificate, poolers, time limits."""

from __future__ import annotations

from ops.keycloak.failures.facts import ROLE, Facts
from ops.keycloak.failures.failure import DOWN, Failure, Line
from ops.keycloak.failures.remedy import (
    BACK,
    DATA,
    ISSUE,
    KEYS,
    NO_CONNECTION,
    NOT_STARTED,
    Remedy,
    Way,
    by_hand,
    released,
    statements,
)
from ops.keycloak.repair.sql import RIGHTS, writable

SCARCE_BYTES = 64 << 20
"""Less than this is full: PostgreSQL writes its log in files of 16 MB, and Podman needs some for a start."""


def _disk(facts: Facts) -> str:
    full = [f"{free >> 20} MB are free at {path}" for path, free in sorted(facts.disks.items()) if free < SCARCE_BYTES]
    return ", ".join(full)


def _read_only(facts: Facts) -> str:
    where = facts.postgres.read_only
    if where == "standby":
        return "it is a standby (pg_is_in_recovery)"
    return f"default_transaction_read_only is on ({where})" if where else ""


def _lock_rights(facts: Facts) -> str:
    owner = facts.postgres.schema.lock_owner if facts.postgres.schema else ROLE
    return f"databasechangeloglock belongs to {owner}" if owner not in ("", ROLE) else ""


FAILURES = (
    Failure(
        "disk-full", DOWN, "no space is left on a disk",
        "PostgreSQL or Keycloak cannot write; a new container would find the disk just as full",
        source="errno ENOSPC; PostgreSQL 15", shown=_disk,
        lines=(Line(
            r"No space left on device|Disk quota exceeded|wrote only \d+ of \d+ bytes",
            "errno ENOSPC, EDQUOT; PostgreSQL 15", serving=True,
        ),),
        remedy=by_hand(
            (
                "df -h, then du -xh --max-depth=3 on the full one: old dumps (inv backup), logs and images (inv status) come "
                "first"
            ),
            (
                "never delete files of PostgreSQL's volume; once there is space: inv keycloak, then inv keycloak.fix for what "
                "is left"
            ),
            leaves="containers, volumes and databases: nothing is made again, dumped or deleted while the disk is full",
            users="logins are back within a minute of space being free",
        ),
        explains=(
            "postgres-down", "postgres-silent", "postgres-read-only", "container-lost", "out-of-memory", "realm-import-failed",
            *NO_CONNECTION,
        ),
    ),
    Failure(
        "postgres-read-only", DOWN, "PostgreSQL refuses writes",
        "default_transaction_read_only is set, or the server is a standby: logins need to write",
        source="PostgreSQL 15; #22422 #24493", shown=_read_only,
        denied=lambda facts: facts.database_seen() and not facts.postgres.read_only,
        lines=(Line(
            r"in a read-only transaction|read-write mode during recovery|targetServerType: (?:primary|master)",
            "PostgreSQL 15; #22422", serving=True,
        ),),
        remedy=statements(
            "reset default_transaction_read_only where it was set; end the role's sessions", writable,
            advice=(
                "as postgres in its container: psql -c \"SELECT pg_is_in_recovery(); SHOW default_transaction_read_only\"",
                "a standby: promote it, or let db-url-host name the primary; a setting of the server: ALTER SYSTEM RESET "
                "default_transaction_read_only, SELECT pg_reload_conf()",
            ),
        ),
        explains=("lock-table-rights", "schema-rights", *NO_CONNECTION),
    ),
    Failure(
        "postgres-hba", DOWN, "PostgreSQL's access rules refuse Keycloak",
        "no line of pg_hba.conf fits its role, database and address, or that line wants TLS and the connection has none",
        source="PostgreSQL 15", shown=lambda facts: facts.login_says(r"pg_hba\.conf"),
        lines=(Line(r"no pg_hba\.conf entry|pg_hba\.conf rejects", "PostgreSQL 15"),),
        remedy=by_hand(
            "inv logs postgres --since 10m names role, database, address and whether TLS was used",
            (
                "in the checkout: a line `hostssl keycloak keycloak samenet scram-sha-256` in config/postgres/pg_hba.conf; inv "
                "deploy"
            ),
            leaves="every other line of pg_hba.conf; passwords", users=BACK,
        ),
        explains=("password-drift", *NO_CONNECTION),
    ),
    Failure(
        "pooler", DOWN, "a connection pooler stands between Keycloak and PostgreSQL",
        "in transaction mode it loses prepared statements and refuses start-up parameters; Keycloak has its own pool",
        source="PgBouncer; #28759 #40934",
        lines=(Line(
            r"unsupported startup parameter|prepared statement \"[^\"]+\" (?:already exists|does not exist)|pgbouncer"
            r"|prepared statement name is already in use"
            r"|server_login_retry|no more connections allowed|query_wait_timeout|bouncer config error",
            "PgBouncer; #28759 #40934", serving=True,
        ),),
        remedy=released(
            sealed="db-url-host=postgres", then="with a pooler that must stay: session mode, ignore_startup_parameters",
            leaves=DATA,
        ),
        explains=("lock-table-rights", "role-connections-full", *NO_CONNECTION),
    ),
    Failure(
        "postgres-certificate-expired", DOWN, "PostgreSQL's certificate has expired",
        "Keycloak checks it at each new connection; those that are open go on until they are replaced",
        source="pgjdbc 42.7.13",
        lines=(Line(
            r"(?:SSL error|PSQLException)[^\n]*(?:CertificateExpired|NotAfter|validity check failed|certificate_expired)",
            "pgjdbc 42.7.13",
        ),),
        remedy=Remedy(
            ISSUE, (Way.POSTGRES_CERTIFICATE,), leaves=KEYS, users=BACK,
            advice=("inv certs: why its renewal failed", "inv certs.rotate postgres issues it again"),
        ),
        explains=("postgres-certificate-untrusted", "peer-untrusted", *NO_CONNECTION),
    ),
    Failure(
        "postgres-certificate-name", DOWN, "PostgreSQL's certificate is for another name",
        "it does not name the host that db-url-host says", source="pgjdbc 42.7.13",
        lines=(Line(r"could not be verified by hostnameverifier|Server name validation failed", "pgjdbc 42.7.13"),),
        remedy=released(
            first=ISSUE, sealed="db-url-host=postgres", ways=(Way.POSTGRES_CERTIFICATE, Way.DRIFT, Way.EARLIER), leaves=KEYS,
            users=BACK,
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "postgres-certificate-untrusted", DOWN, "Keycloak does not trust PostgreSQL's certificate",
        "it is of an authority that sslrootcert does not hold, or that file is missing", source="pgjdbc 42.7.13",
        lines=(Line(
            r"(?:SSL error|PSQLException)[^\n]*(?:PKIX path|unable to find valid cert|signature check failed|do not conform)"
            r"|Could not open SSL root certificate file|Loading the SSL root certificate",
            "pgjdbc 42.7.13",
        ),),
        remedy=released(
            first=ISSUE, sealed="sslrootcert=/etc/tls/ca.pem", ways=(Way.POSTGRES_CERTIFICATE, Way.DRIFT, Way.EARLIER),
            leaves=KEYS, users=BACK,
        ),
        explains=("peer-untrusted", *NO_CONNECTION),
    ),
    Failure(
        "postgres-tls-off", DOWN, "PostgreSQL speaks no TLS",
        "ssl is off in its configuration, or what answers at db-url-host is another server", source="pgjdbc 42.7.13",
        lines=(Line(r"The server does not support SSL", "pgjdbc 42.7.13"),),
        remedy=by_hand(
            "as postgres in its container: psql -c \"SHOW ssl\"; inv keycloak --json shows which db-url-host Keycloak has",
            (
                "in the checkout: ssl = on in config/postgres/postgresql.conf, then inv deploy; sslmode=verify-full stays as "
                "it is"
            ),
            leaves=KEYS, users=BACK,
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "migration-timeout", DOWN, "a transaction of the start took longer than it may",
        "a migration or an import was rolled back when its time was over: large tables, a slow disk, or a lock",
        source="TransactionOptions 26.7.3; #22387",
        lines=(Line(r"ARJUNA01(?:21(?:08|17|21|48)|18(?:17|18))|rolled back in a different thread", "Narayana; #22387"),),
        remedy=by_hand(
            "leave Keycloak stopped; inv logs keycloak --since 1h names the last change set; inv keycloak shows who blocks it",
            (
                "in the checkout: transaction-setup-timeout=60m in config/keycloak/keycloak.conf, start_period in compose.yaml "
                "no less"
            ),
            "inv deploy: it dumps first, and goes on with the change sets that are left",
            leaves="the schema: what was committed stays, and is not run again",
            users="logins stop until the migration has ended", dump_first=True,
        ),
        explains=("migration-failed", "realm-import-failed", "pool-exhausted", *NOT_STARTED),
    ),
    Failure(
        "lock-table-rights", DOWN, "the table of the change log lock belongs to another role",
        "a dump was restored by a superuser: Keycloak finds the table, and may neither lock it nor make one of its own",
        source="#15803; PostgreSQL 15", shown=_lock_rights, denied=lambda facts: facts.postgres.schema is not None,
        lines=(Line(
            r"(?:permission denied for|must be owner of) (?:table|relation) databasechangeloglock"
            r"|relation \"(?:\w+\.)?databasechangeloglock\" already exists",
            "PostgreSQL 15; #15803",
        ),),
        remedy=statements(
            "ALTER … OWNER TO keycloak for this table and all others of other roles", RIGHTS,
            leaves="every table and row; the lock table: it is never edited", dump_first=True,
        ),
        explains=("schema-rights", "changelog-lock", *NO_CONNECTION),
    ),
)  # fmt: skip
