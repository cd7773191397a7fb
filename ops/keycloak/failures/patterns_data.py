"""Lines that tell what is wrong between Keycloak and its database.

Each with its source: a guide, an issue (#n) of Keycloak, or the text of a program.
"""

from __future__ import annotations

from ops.keycloak.failures.pattern import SERVING, START, Pattern

PATTERNS = (
    Pattern(
        "h2-in-use",
        r"Usage of the default value for the db option|must be jdbc:h2|Table \"REALM\" not found"
        r"|No suitable driver found for jdbc:|Unable to find a JDBC driver corresponding to the database kind",
        START,
        "#15898 #13252 #13965",
    ),
    Pattern("h2-locked", r"Database may be already in use|\[90020", START, "#33800"),
    Pattern("h2-version", r"Unsupported database file version|\[90048|File corrupted while reading record", START, "#15712"),
    Pattern("changelog-lock", r"Could not acquire change log lock", START, "CustomLockService"),
    Pattern(
        "migration-failed",
        r"Failed to update database|ChangeSet .* encountered an exception|Migration failed for change ?set"
        r"|liquibase\.exception\.ValidationFailedException",
        START,
        "#24755 #23220 #31188",
    ),
    Pattern(
        "schema-rights", r"permission denied for (?:schema|table|relation|sequence|database)|must be owner of", START, "#30375"
    ),
    Pattern("password-drift", r"password authentication failed for user", START, "PostgreSQL 15"),
    Pattern("role-missing", r"role \"[^\"]+\" does not exist", START, "PostgreSQL 15"),
    Pattern("role-cannot-login", r"role \"[^\"]+\" is not permitted to log in", START, "PostgreSQL 15"),
    Pattern("database-missing", r"database \"[^\"]+\" does not exist", START, "PostgreSQL 15"),
    Pattern("database-closed", r"database \"[^\"]+\" is not currently accepting connections", START, "PostgreSQL 15"),
    Pattern("role-connections-full", r"too many connections for role", START, "PostgreSQL 15"),
    Pattern(
        "postgres-full", r"remaining connection slots are reserved|too many clients already", START, "PostgreSQL 15; #17485"
    ),
    Pattern(
        "database-unreachable",
        r"Failed to obtain JDBC connection|Connection to \S+ refused|The connection attempt failed"
        # Of a mail server, a directory or an identity provider, the exception stands behind what asked for it.
        r"|^(?:Caused by: |ERROR: )*java\.net\.UnknownHostException",
        START,
        "#16448",
    ),
    Pattern(
        "pool-exhausted",
        r"Unable to acquire JDBC Connection|Acquisition timeout while waiting for new connection",
        SERVING,
        "high-availability guide",
        times=3,
    ),
    Pattern("cluster-timeouts", r"JOIN\(.*\) sent to .* timed out", SERVING, "#29399 #43327"),
    Pattern(
        "postgres-read-only",
        r"in a read-only transaction|read-write mode during recovery|targetServerType: (?:primary|master)",
        SERVING,
        "PostgreSQL 15; #22422",
    ),
    Pattern(
        "disk-full",
        r"No space left on device|Disk quota exceeded|wrote only \d+ of \d+ bytes",
        SERVING,
        "errno ENOSPC, EDQUOT; PostgreSQL 15",
    ),
    Pattern("postgres-hba", r"no pg_hba\.conf entry|pg_hba\.conf rejects", START, "PostgreSQL 15"),
    Pattern(
        "pooler",
        r"unsupported startup parameter|prepared statement \"[^\"]+\" (?:already exists|does not exist)|pgbouncer"
        r"|prepared statement name is already in use"
        r"|server_login_retry|no more connections allowed|query_wait_timeout|bouncer config error",
        SERVING,
        "PgBouncer; #28759 #40934",
    ),
    Pattern(
        "postgres-certificate-name",
        r"could not be verified by hostnameverifier|Server name validation failed",
        START,
        "pgjdbc 42.7.13",
    ),
    Pattern(
        "postgres-certificate-expired",
        r"(?:SSL error|PSQLException)[^\n]*(?:CertificateExpired|NotAfter|validity check failed|certificate_expired)",
        START,
        "pgjdbc 42.7.13",
    ),
    Pattern(
        "postgres-certificate-untrusted",
        r"(?:SSL error|PSQLException)[^\n]*(?:PKIX path|unable to find valid cert|signature check failed|do not conform)"
        r"|Could not open SSL root certificate file|Loading the SSL root certificate",
        START,
        "pgjdbc 42.7.13",
    ),
    Pattern("postgres-tls-off", r"The server does not support SSL", START, "pgjdbc 42.7.13"),
    Pattern(
        "migration-timeout",
        r"ARJUNA01(?:21(?:08|17|21|48)|18(?:17|18))|rolled back in a different thread",
        START,
        "Narayana; #22387",
    ),
    Pattern(
        "lock-table-rights",
        r"(?:permission denied for|must be owner of) (?:table|relation) databasechangeloglock"
        r"|relation \"(?:\w+\.)?databasechangeloglock\" already exists",
        START,
        "PostgreSQL 15; #15803",
    ),
)
