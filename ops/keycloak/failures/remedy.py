"""What is done about a failure: by which ways it is repaired, in words, and what is left for a person. Data only.

Most failures are a difference from the sealed release, and share one remedy (`released`): only their words differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ops.keycloak.failures.facts import Facts
from ops.keycloak.repair.sql import Sql

RESTART = "logins pause for about 25 s; open sessions go on"
NOBODY = "no interruption"
BACK = "logins are back within 20 s"
DATA = "databases, realms and users"
SECRETS_AND_DATA = "secrets, databases, realms and users"
TABLES = "every table and row"
PASSWORDS = "the secret, and every other role"
LOCK_TABLE = "the lock table: it is never edited"
KEYS = "the authority's key, and how strictly the certificate is checked (sslmode=verify-full)"
TLS_CHECKS = "host name checks of TLS: they are never switched off"
USERS = "users, their passwords and sessions"
NO_WILDCARD = "every other client; no wildcard is ever set"

REBUILD = "every build option in compose/keycloak/Containerfile"
ISSUE = "issue PostgreSQL's certificate again from the internal authority, and reload PostgreSQL"
ISSUE_SITE = "own authority: issue it again, and reload nginx; another issuer: inv certs.acme, or inv certs.import"
COPY_H2 = "copy the H2 files into the state folder (dumps/h2-TIME)"
MIGRATE_H2 = "inv keycloak.migrate-h2 with that folder brings their content into PostgreSQL, and replaces what is there"

NOT_STARTED = ("crash-loop", "exited", "not-ready", "edge-fails", "healthcheck-wrong", "cpu-throttled", "admin-refused")
"""What is seen of every Keycloak that cannot start."""
NO_CONNECTION = ("database-unreachable", "migration-failed", "pool-exhausted", *NOT_STARTED)
"""What Keycloak says and shows when it gets no connection to its database."""


class Way(Enum):
    """A way to repair a failure (ops/keycloak/repair/plan.py)."""

    DRIFT = "restore Keycloak as the release has it, where it differs"
    RECREATE = "recreate Keycloak as the release has it, whether a difference is known or not"
    RECREATE_WITH_SECRETS = "the same, after Podman has been given the secrets again"
    EARLIER = "go back to the newest earlier release with a different Keycloak"
    START = "start Keycloak"
    START_POSTGRES = "start PostgreSQL"
    START_NGINX = "start nginx"
    RELOAD_NGINX = "reload nginx on its sealed configuration"
    RESTART_NGINX = "restart nginx"
    SITE_CERTIFICATE = "issue the certificate of the site again"
    POSTGRES_CERTIFICATE = "issue PostgreSQL's certificate again"
    OWN_CERTIFICATE = "issue Keycloak's certificate again"
    RESCUE_SECRET = "restore a lost secret from a container that has it"  # noqa: S105  (no password)
    SQL = "run statements in PostgreSQL"
    STRANGER = "stop a second Keycloak"
    ADMIN_API = "change it through the admin API"
    BOOTSTRAP_ADMIN = "recover the administration by bootstrap-admin"


DRIFTS = (Way.DRIFT, Way.EARLIER)
"""Where only what runs is wrong, the release; where the release itself is, an earlier one, sealed anew."""
RECREATES = (Way.RECREATE, Way.EARLIER)
Statements = Sql | Callable[[Facts], Sql | None]


@dataclass(frozen=True)
class Remedy:
    """words: what repairs it, in the order in which it is done. ways: tried in this order; none: a person decides."""

    words: str
    ways: tuple[Way, ...]
    leaves: str = SECRETS_AND_DATA
    """What the repair never touches."""
    users: str = RESTART
    """How long users notice the repair."""
    dump_first: bool = False
    sql: Statements | None = None
    api: str = ""
    """What its repair through the admin API is called."""
    advice: tuple[str, ...] = ()
    """What a person does, in order, where it is not repaired: commands to type."""

    def statements(self, facts: Facts) -> Sql | None:
        """What repairs it inside PostgreSQL; None where nothing there may be touched."""
        return self.sql(facts) if callable(self.sql) else self.sql


def released(
    *, first: str = "", sealed: str = "", checkout: str = "", then: str = "", ways: tuple[Way, ...] = DRIFTS,
    leaves: str = SECRETS_AND_DATA, users: str = RESTART, dump_first: bool = False,
    advice: tuple[str, ...] = (),
) -> Remedy:  # fmt: skip
    """Keycloak differs from its release: back to what that says.

    Parameters
    ----------
    first, then: what is done before and after. sealed: what the release has that is missing now. checkout: what to correct
    there, where the release itself is wrong.
    """
    restore = "restore Keycloak as the release has it" + (f" ({sealed})" if sealed else "")
    earlier = ", or as an earlier release with a different Keycloak has it" if Way.EARLIER in ways else ""
    parts = (first, restore + earlier, f"in the checkout: {checkout}" if checkout else "", then)
    correct = (
        f"correct compose/keycloak or config/keycloak in the checkout: {checkout or sealed or 'see what the log says'}",
        "then inv deploy; it reverts to this release where the new one does not serve",
    )
    return Remedy("; ".join(filter(None, parts)), ways, leaves, users, dump_first, advice=advice or correct)


def statements(
    words: str, sql: Statements, *, ways: tuple[Way, ...] = (Way.SQL,), leaves: str = TABLES, users: str = BACK,
    dump_first: bool = False, advice: tuple[str, ...] = (),
) -> Remedy:  # fmt: skip
    """Repaired inside PostgreSQL; Keycloak is started again where it does not run."""
    usual = ("inv logs postgres --since 10m: why the statements were refused", f"then, as its superuser: {words}")
    return Remedy(words, ways, leaves, users, dump_first, sql, advice=advice or usual)


def admin_api(
    title: str, words: str, *, ways: tuple[Way, ...] = (Way.ADMIN_API,), leaves: str = USERS, users: str = NOBODY,
    dump_first: bool = False,
) -> Remedy:  # fmt: skip
    """Repaired through the admin API (ops/keycloak/repair/admin_api.py)."""
    advice = ("inv logs keycloak --since 10m; inv open names the admin console", f"there: {words}")
    return Remedy(words, ways, leaves, users, dump_first, api=title, advice=advice)


def by_hand(*advice: str, leaves: str = DATA, users: str = RESTART, dump_first: bool = False) -> Remedy:
    """Nothing here may decide it."""
    return Remedy("; ".join(advice), (), leaves, users, dump_first, advice=advice)


def comes_up(service: str) -> tuple[str, ...]:
    """What is left to do about a service that does not start."""
    return (
        f"inv logs {service} --since 30m: its last lines say why it does not start",
        "inv rollback to a release that has served, or correct the cause in the checkout and inv deploy",
    )


ON_NGINX = ("inv logs nginx --since 10m", "inv deploy restores its configuration and its certificate")
