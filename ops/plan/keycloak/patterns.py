"""Lines of Keycloak's log that tell a failure mode.

Each with where it is known from: Keycloak's guides, source and issues (#n), or PostgreSQL's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ops.plan.keycloak.facts import Facts, LogLine
from ops.plan.keycloak.log import ACCESS

RECENT_SECONDS = 600.0
"""A running Keycloak's complaint is believed this long."""
UNREADY = "SRHCK01001: Reporting health down status"
"""What it writes whenever it is asked for its health and is not well."""
ASKED_SECONDS = 45.0
"""It is asked every 30 s at least: so long after it was last found unwell, its complaints may be of what is over."""
STILL_SECONDS = 60.0
"""One that has lost its database goes on serving what it needs no database for: the form, from its caches."""
START, SERVING = "start", "serving"
QUIET = frozenset({"INFO", "DEBUG", "TRACE"})


@dataclass(frozen=True)
class Pattern:
    """when: `start` lines count only while Keycloak is not ready; `serving` ones while they are recent."""

    mode: str
    regex: str
    when: str
    source: str
    also_quiet: bool = False
    """Whether a line of level INFO counts."""
    times: int = 1
    """Lines that it takes: what one user, or one attacker, can cause is no finding."""

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.regex, re.IGNORECASE)


PATTERNS = (
    Pattern("image-not-built", r"'--optimized' flag was used for first ever server start", START, "upgrading guide 26.0"),
    Pattern(
        "build-options-differ",
        r"build time options have values that differ from what is persisted",
        START,
        "upgrading guide 26.0",
    ),
    Pattern(
        "provider-updated", r"provider JAR was (?:updated|added|removed) since (?:the )?last build", START, "containers guide"
    ),
    Pattern(
        "rebuilds-at-start", r"Updating the server image|Changes detected in configuration", START, "containers guide", True
    ),
    Pattern("dev-mode", r"Running the server in development mode", START, "configuration guide", True),
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
        r"Failed to obtain JDBC connection|Connection to \S+ refused|UnknownHostException"
        r"|The connection attempt failed",
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
    Pattern(
        "option-unknown",
        r"Unknown option: |unrecognized (?:feature|option)|is an unrecognized feature"
        r"|Invalid value for option|Expected values are: |is in both the enabled and disabled feature lists",
        START,
        "all configuration guide",
    ),
    Pattern("option-removed", r"Hostname v1 options \[[^\]]+\] are still in use", START, "measured on 26.7.3"),
    Pattern(
        "hostname-unset",
        r"hostname is not configured; either configure|Strict hostname resolution configured but no hostname setting provided",
        START,
        "hostname guide; #33539",
    ),
    Pattern("https-key-missing", r"Key material not provided to setup HTTPS", START, "TLS guide"),
    Pattern(
        "proxy-headers",
        r"Likely misconfiguration .*proxy-headers|Non-secure context detected",
        SERVING,
        "reverse proxy guide; #41896",
    ),
    Pattern(
        "realm-keys",
        r"Failed to (?:find|create fallback) key(?: for realm)?: realm=\S+ algorithm=\S+ use=SIG"
        r"|Active key for realm .* not found",
        SERVING,
        "DefaultKeyManager",
    ),
    Pattern("realm-file-name", r"File name / realm name mismatch", START, "import guide"),
    Pattern("cluster-timeouts", r"JOIN\(.*\) sent to .* timed out", SERVING, "#29399 #43327"),
    Pattern("truststore-missing", r"Failed to initialize truststore", START, "measured on 26.7.3"),
    Pattern(
        "peer-untrusted",
        r"PKIX path building failed|unable to find valid certification path",
        SERVING,
        "trust store guide; #24973 #36286",
    ),
    Pattern(
        "heap-too-large",
        r"insufficient memory for the Java Runtime Environment|Native memory allocation \(\w+\) failed|os::commit_memory\(",
        START,
        "#45459",
        True,
    ),
    Pattern("heap-exhausted", r"java\.lang\.OutOfMemoryError|Terminating due to java", START, "#45459", True),
    Pattern(
        "secret-missing",
        r"needs the secret [a-z-]+, and|the secret [a-z-]+ is empty or holds",
        START,
        "compose/keycloak/entrypoint.sh",
    ),
    Pattern("proxy-name-unknown", r"the name nginx is unknown here", START, "compose/keycloak/entrypoint.sh"),
)


def said(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    """Failure mode -> the last lines of the log that tell it, and that still count."""
    found: dict[str, tuple[str, ...]] = {}
    for pattern in PATTERNS:
        lines = list(_matching(pattern, facts))
        if len(lines) >= pattern.times:
            found[pattern.mode] = (*found.get(pattern.mode, ()), shortened(lines[-1].text))
    return found


def _matching(pattern: Pattern, facts: Facts) -> Iterable[LogLine]:
    if pattern.when == START and facts.ready:
        return
    since = _since(facts)
    for line in facts.log:
        if line.at < since or (line.level in QUIET and not pattern.also_quiet):
            continue
        if pattern.compiled.search(line.text):
            yield line


def _since(facts: Facts) -> float:
    """From when on complaints count: those of an outage that is over, and of starts before it served again, do not."""
    if facts.ready:
        unready = (line.at + ASKED_SECONDS for line in facts.log if line.text.startswith(UNREADY))
        return max(facts.now - RECENT_SECONDS, *unready, float("-inf"))
    return max((line.at - STILL_SECONDS for line in facts.log if line.logger == ACCESS), default=float("-inf"))


def shortened(text: str, limit: int = 220) -> str:
    """One line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
