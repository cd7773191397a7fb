"""Lines of Keycloak's log that tell a failure mode.

Each with where it is known from: Keycloak's guides, source and issues (#n), or PostgreSQL's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ops.plan.keycloak.facts import Facts, LogLine

RECENT_SECONDS = 600.0
"""A running Keycloak's complaint is believed this long."""
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
        r"Usage of the default value for the db option|must be jdbc:h2|Table \"REALM\" not found",
        START,
        "#15898 #13252",
    ),
    Pattern("h2-locked", r"Database may be already in use|\[90020", START, "#33800"),
    Pattern("h2-version", r"Unsupported database file version|\[90048|File corrupted while reading record", START, "#15712"),
    Pattern("changelog-lock", r"Could not acquire change log lock", START, "CustomLockService"),
    Pattern(
        "migration-failed",
        r"Failed to update database|ChangeSet .* encountered an exception|Migration failed for change set",
        START,
        "#24755",
    ),
    Pattern("schema-rights", r"permission denied for (?:schema|table|relation|sequence)|must be owner of", START, "#30375"),
    Pattern("password-drift", r"password authentication failed for user", START, "PostgreSQL 15"),
    Pattern("role-missing", r"role \"[^\"]+\" does not exist", START, "PostgreSQL 15"),
    Pattern("role-cannot-login", r"role \"[^\"]+\" is not permitted to log in", START, "PostgreSQL 15"),
    Pattern("database-missing", r"database \"[^\"]+\" does not exist", START, "PostgreSQL 15"),
    Pattern("database-closed", r"database \"[^\"]+\" is not currently accepting connections", START, "PostgreSQL 15"),
    Pattern("role-connections-full", r"too many connections for role", SERVING, "PostgreSQL 15"),
    Pattern("postgres-full", r"remaining connection slots are reserved|too many clients already", SERVING, "PostgreSQL 15"),
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
        r"|Invalid value for option|Expected values are: ",
        START,
        "all configuration guide",
    ),
    Pattern("hostname-unset", r"hostname is not configured; either configure", START, "hostname guide"),
    Pattern("https-key-missing", r"Key material not provided to setup HTTPS", START, "TLS guide"),
    Pattern(
        "proxy-headers",
        r"Likely misconfiguration .*proxy-headers|Non-secure context detected",
        SERVING,
        "reverse proxy guide; #41896",
    ),
    Pattern(
        "realm-keys",
        r"Failed to find key: realm=\S+ algorithm=\S+ use=SIG|Active key for realm .* not found",
        SERVING,
        "DefaultKeyManager",
    ),
    Pattern("realm-file-name", r"File name / realm name mismatch", START, "import guide"),
    Pattern("cluster-timeouts", r"JOIN\(.*\) sent to .* timed out", SERVING, "#29399 #43327"),
    Pattern(
        "truststore-missing", r"PKIX path building failed|unable to find valid certification path", SERVING, "trust store guide"
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
    for line in facts.log:
        if pattern.when == SERVING and facts.ready and line.at < facts.now - RECENT_SECONDS:
            continue
        if line.level in QUIET and not pattern.also_quiet:
            continue
        if pattern.compiled.search(line.text):
            yield line


def shortened(text: str, limit: int = 220) -> str:
    """One line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
