"""Failure modes of the way from Keycloak to what PostgreSQL stores: disk, certificate, access rules, poolers, time-outs."""

from __future__ import annotations

from ops.keycloak.failures.data import AGAIN, LOCK_TABLE, NO_CONNECTION, TABLES
from ops.keycloak.failures.failure import DATA, DOWN, RESTART, Mode
from ops.keycloak.failures.start import LOOP, NOT_STARTED, RELEASE

ISSUE = "issue PostgreSQL's certificate again from the internal authority, and reload PostgreSQL"
KEYS = "the authority's key, and how strictly the certificate is checked (sslmode=verify-full)"
BACK = "logins are back within 20 s"

MODES = (
    Mode(
        id="disk-full",
        severity=DOWN,
        title="no space is left on a disk",
        means="PostgreSQL or Keycloak cannot write; a new container would find the disk just as full",
        repair="free space on the disk that the finding names (df -h); PostgreSQL and Keycloak then go on by themselves",
        untouched="containers, volumes and databases: nothing is made again, dumped or deleted while the disk is full",
        notice="logins are back within a minute of space being free",
        source="errno ENOSPC; PostgreSQL 15",
        repairable=False,
        explains=(
            "postgres-down",
            "postgres-silent",
            "postgres-read-only",
            "container-lost",
            "out-of-memory",
            "realm-import-failed",
            *NO_CONNECTION,
        ),
    ),
    Mode(
        id="postgres-read-only",
        severity=DOWN,
        title="PostgreSQL refuses writes",
        means="default_transaction_read_only is set, or the server is a standby: logins need to write",
        repair=f"{LOOP}; reset default_transaction_read_only where it was set; end the role's sessions; {AGAIN}",
        untouched=TABLES,
        notice=BACK,
        source="PostgreSQL 15; #22422 #24493",
        explains=("lock-table-rights", "schema-rights", *NO_CONNECTION),
    ),
    Mode(
        id="postgres-hba",
        severity=DOWN,
        title="PostgreSQL's access rules refuse Keycloak",
        means="no line of pg_hba.conf fits its role, database and address, or that line wants TLS and the connection has none",
        repair="put the sealed config/postgres/pg_hba.conf back (inv deploy), with a hostssl line for keycloak; nothing trusts",
        untouched="every other line of pg_hba.conf; passwords",
        notice=BACK,
        source="PostgreSQL 15",
        repairable=False,
        explains=("password-drift", *NO_CONNECTION),
    ),
    Mode(
        id="pooler",
        severity=DOWN,
        title="a connection pooler stands between Keycloak and PostgreSQL",
        means="in transaction mode it loses prepared statements and refuses start-up parameters; Keycloak has its own pool",
        repair=f"{RELEASE} (db-url-host=postgres); with a pooler that must stay: session mode, ignore_startup_parameters",
        untouched=DATA,
        notice=RESTART,
        source="PgBouncer; #28759 #40934",
        explains=("lock-table-rights", "role-connections-full", *NO_CONNECTION),
    ),
    Mode(
        id="postgres-certificate-expired",
        severity=DOWN,
        title="PostgreSQL's certificate has expired",
        means="Keycloak checks it at each new connection; those that are open go on until they are replaced",
        repair=f"{ISSUE}; find out why the renewal failed (inv certs)",
        untouched=KEYS,
        notice=BACK,
        source="pgjdbc 42.7.13",
        explains=("postgres-certificate-untrusted", "peer-untrusted", *NO_CONNECTION),
    ),
    Mode(
        id="postgres-certificate-name",
        severity=DOWN,
        title="PostgreSQL's certificate is for another name",
        means="it does not name the host that db-url-host says",
        repair=f"{ISSUE}; {RELEASE} (db-url-host=postgres)",
        untouched=KEYS,
        notice=BACK,
        source="pgjdbc 42.7.13",
        explains=NO_CONNECTION,
    ),
    Mode(
        id="postgres-certificate-untrusted",
        severity=DOWN,
        title="Keycloak does not trust PostgreSQL's certificate",
        means="it is of an authority that sslrootcert does not hold, or that file is missing",
        repair=f"{ISSUE}; {RELEASE} (sslrootcert=/etc/tls/ca.pem)",
        untouched=KEYS,
        notice=BACK,
        source="pgjdbc 42.7.13",
        explains=("peer-untrusted", *NO_CONNECTION),
    ),
    Mode(
        id="postgres-tls-off",
        severity=DOWN,
        title="PostgreSQL speaks no TLS",
        means="ssl is off in its configuration, or what answers at db-url-host is another server",
        repair="put the sealed config/postgres/postgresql.conf back (ssl = on): inv deploy; sslmode stays verify-full",
        untouched=KEYS,
        notice=BACK,
        source="pgjdbc 42.7.13",
        repairable=False,
        explains=NO_CONNECTION,
    ),
    Mode(
        id="migration-timeout",
        severity=DOWN,
        title="a transaction of the start took longer than it may",
        means="a migration or an import was rolled back when its time was over: large tables, a slow disk, or a lock",
        repair=(
            "set transaction-setup-timeout=60m in config/keycloak/keycloak.conf, and start_period of keycloak in compose.yaml "
            "to no less; then inv deploy, which dumps first and goes on with the change sets that are left"
        ),
        untouched="the schema: what was committed stays, and is not run again",
        notice="logins stop until the migration has ended",
        source="TransactionOptions 26.7.3; #22387",
        dump_first=True,
        repairable=False,
        explains=("migration-failed", "realm-import-failed", "pool-exhausted", *NOT_STARTED),
    ),
    Mode(
        id="lock-table-rights",
        severity=DOWN,
        title="the table of the change log lock belongs to another role",
        means="a dump was restored by a superuser: Keycloak finds the table, and may neither lock it nor make one of its own",
        repair=f"{LOOP}; ALTER … OWNER TO keycloak for this table and all others of other roles; {AGAIN}",
        untouched=f"{TABLES}; {LOCK_TABLE}",
        notice=BACK,
        source="#15803; PostgreSQL 15",
        dump_first=True,
        explains=("schema-rights", "changelog-lock", *NO_CONNECTION),
    ),
)
