"""What the log may still say and the facts deny: lines of an earlier attempt, or of an outage that has been mended."""

from __future__ import annotations

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.rules_data import looked
from ops.keycloak.failures.rules_start import given, reachable

LOOKED_AT = frozenset({"role-missing", "role-cannot-login", "database-missing", "database-closed"})
"""What PostgreSQL itself was asked about."""
TRIED = frozenset({"password-drift", "role-connections-full", "postgres-full"})
"""What a login of the role with its present secret shows."""


def refuted(facts: Facts) -> frozenset[str]:
    """Failure modes of which the log is not believed. One that the facts show is none of them."""
    found: set[str] = set()
    if looked(facts):
        found |= LOOKED_AT
        if not facts.postgres.read_only:
            found.add("postgres-read-only")
    if facts.postgres.login is not None:
        found |= TRIED
    if facts.postgres.schema is not None:
        found |= {"schema-rights", "lock-table-rights"}
    if facts.postgres.content is not None and not _names_theme(facts, facts.postgres.content.login_theme):
        # Whoever asks for the resources of a theme by any name makes Keycloak look for it.
        found.add("theme-missing")
    options, built = given(facts), facts.server.built
    if options.get("hostname"):
        found.add("hostname-unset")
    if reachable(options):
        found.add("https-key-missing")
    if built:
        found.add("image-not-built")
        if built.get("db") == "postgres" and options.get("db", "postgres") == "postgres":
            found.add("h2-in-use")
    return frozenset(found)


def _names_theme(facts: Facts, theme: str) -> bool:
    return bool(theme) and any(f"LOGIN theme {theme}," in line.text for line in facts.log)
