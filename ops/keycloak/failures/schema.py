"""Failures of Keycloak's schema, of the sessions on it, and of Keycloak's cluster."""

from __future__ import annotations

from ops.keycloak.failures.facts import Facts, Session
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import (
    DATA,
    DRIFTS,
    LOCK_TABLE,
    NO_CONNECTION,
    NOBODY,
    NOT_STARTED,
    RECREATES,
    TABLES,
    Remedy,
    Way,
    by_hand,
    released,
    statements,
)
from ops.keycloak.repair.sql import CLUSTER_ROWS, end_blockers, end_holder, end_orphans
from ops.keycloak.schema.plan import Schema, Server, judge

AWAITING = 3.0
"""Requests that wait for a connection; one or two for an instant is what a pool is for."""
MOMENT_SECONDS = 10.0
"""Every Keycloak holds the lock for a moment when it starts; a second one, too."""


def _lock(facts: Facts) -> str:
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


def _newer(facts: Facts) -> str:
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


def _role_full(facts: Facts) -> str:
    if said := facts.login_says("too many connections for role"):
        return said
    role = facts.postgres.role
    full = role is not None and 0 < role.limit <= role.connections
    return f"{role.connections} of {role.limit} connections" if role and full else ""


def _pool(facts: Facts) -> str:
    waiting, active = facts.edge.pool_awaiting or 0.0, facts.edge.pool_active or 0.0
    return f"{waiting:.0f} requests wait, {active:.0f} connections are in use" if waiting >= AWAITING else ""


def _second(facts: Facts) -> str:
    own = facts.container.addresses
    others = [session for session in facts.postgres.sessions if session.address and session.address not in own]
    # Without addresses of its own, every session is a stranger's: a container that was just removed has left its sessions.
    jdbc = [session for session in others if "JDBC" in session.application]
    return ", ".join(sorted({_described(session) for session in jdbc})) if own else ""


def _rows(facts: Facts) -> str:
    rows = facts.postgres.content.cluster_rows if facts.postgres.content else 0
    return f"{rows} rows" if rows else ""


FAILURES = (
    Failure(
        "changelog-lock", DOWN, "another session holds the change log lock",
        "Keycloak waits for it at each start; the column LOCKED says nothing, a live session does",
        source="CustomLockService; PostgreSQL 15", shown=_lock, momentary=True,
        lines=(Line(r"Could not acquire change log lock", "CustomLockService"),),
        remedy=statements(
            "end the session that holds it if no service of this product uses it; stop a second Keycloak",
            end_holder, ways=(Way.SQL, Way.STRANGER), leaves=LOCK_TABLE, users="logins are back about 20 s later",
        ),
        explains=("second-keycloak", "migration-failed", "pool-exhausted", *NOT_STARTED),
    ),
    Failure(
        "migration-failed", DOWN, "the migration of the schema failed",
        "the new version cannot use the schema, and the old one may not either", source="#24755",
        lines=(Line(
            r"Failed to update database|ChangeSet .* encountered an exception|Migration failed for change ?set"
            r"|liquibase\.exception\.ValidationFailedException",
            "#24755 #23220 #31188",
        ),),
        remedy=by_hand(
            "leave Keycloak stopped: inv logs keycloak --since 1h names the change set",
            "restore the dump from before the upgrade, and inv rollback to the release that it belongs to",
            leaves="the schema: never downgraded in place", users="logins stop for some minutes", dump_first=True,
        ),
        explains=NOT_STARTED,
    ),
    Failure(
        "schema-newer", DEGRADED, "the schema is of a newer Keycloak than the image",
        "the image was rolled back and the database was not", source="upgrading guide", shown=_newer,
        remedy=released(
            then="where the release itself is older: deploy the newer image again", ways=(Way.DRIFT,),
            leaves="the schema: never downgraded in place", dump_first=True,
            advice=(
                "inv releases: deploy or roll back to a release with the newer Keycloak (the line `saw` names it)",
                "or restore the dump from before the upgrade; the schema is never downgraded in place",
            ),
        ),
        explains=("migration-failed", *NOT_STARTED),
    ),
    Failure(
        "role-connections-full", DEGRADED, "Keycloak's role has used up its connections",
        "a second Keycloak, or sessions that a killed one has left behind", source="compose/postgres/roles.sql",
        shown=_role_full, denied=Facts.login_tried, momentary=True,
        lines=(Line(r"too many connections for role", "PostgreSQL 15"),),
        remedy=statements(
            "end the sessions whose client is gone; stop a second Keycloak", end_orphans, ways=(Way.SQL, Way.STRANGER),
            leaves="sessions that work", users=NOBODY,
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "pool-exhausted", DEGRADED, "requests wait for a database connection",
        "more requests at once than connections, or statements that take long: users see errors after 5 s",
        source="high-availability guide", shown=_pool, momentary=True,
        lines=(Line(
            r"Unable to acquire JDBC Connection|Acquisition timeout while waiting for new connection",
            "high-availability guide", serving=True, times=3,
        ),),
        remedy=Remedy(
            "end an orphaned session for whose lock Keycloak waits; restore Keycloak as a release has it; in the checkout: "
            "fewer threads (http-pool-max-threads) before a larger pool",
            (Way.SQL, *DRIFTS), sql=end_blockers, leaves="sessions that work",
            advice=(
                "as postgres in its container: psql -d keycloak -c \"SELECT pid, state, wait_event_type, now() - xact_start, "
                "left(query, 80) FROM pg_stat_activity WHERE state <> 'idle' ORDER BY 4 DESC\"",
                "end a session that blocks the others if no service uses it (pg_blocking_pids); else lower "
                "http-pool-max-threads in config/keycloak/keycloak.conf, then inv deploy",
            ),
        ),
    ),
    Failure(
        "second-keycloak", RISK, "a second Keycloak, or another Java program, uses the same database",
        "with cache=local the two do not tell each other of changes and logouts", source="#29399; caching guide",
        shown=_second, momentary=True,
        remedy=Remedy(
            "after asking: stop, and keep, the Keycloak on this host that is not this project's", (Way.STRANGER,),
            leaves=TABLES, users=NOBODY,
            advice=(
                "as postgres in its container: psql -c \"SELECT DISTINCT client_addr, application_name FROM pg_stat_activity\"",
                "stop the program at an address that is not Keycloak's, or give it a database of its own",
            ),
        ),
        explains=("role-connections-full",),
    ),
    Failure(
        "database-unreachable", DOWN, "Keycloak does not reach PostgreSQL",
        "PostgreSQL is well and the role may log in: the name, the address or the network between them is wrong",
        source="#16448", momentary=True,
        lines=(Line(
            r"Failed to obtain JDBC connection|Connection to \S+ refused|The connection attempt failed"
            # Of a mail server, a directory or an identity provider, the exception stands behind what asked for it.
            r"|^(?:Caused by: |ERROR: )*java\.net\.UnknownHostException",
            "#16448",
        ),),
        remedy=released(sealed="its db-url-host, and a new place on the network", ways=RECREATES, leaves=DATA),
        explains=("migration-failed", "pool-exhausted", *NOT_STARTED),
    ),
    Failure(
        "cluster-rows", RISK, "rows of a cluster are left in jgroups_ping",
        "a start that clusters would wait for nodes that are gone", source="#43327", shown=_rows,
        remedy=statements(
            "take these rows, which cache=local does not read, out of jgroups_ping; kept as statements until it is verified",
            CLUSTER_ROWS, leaves="every other table", users=NOBODY,
        ),
    ),
    Failure(
        "cluster-transport", DOWN, "the transport of its cluster does not start",
        "cache is not local, and JGroups gets no address, port or stack that it can use; one node needs none",
        source="Infinispan 16; #23330 #24275",
        lines=(Line(
            r"Unable to start JGroups channel|JGroupsTransport[^\n]*FAILED|ISPN000(?:365|540|541)"
            r"|not a valid address on any local network interface"
            r"|No available port to bind to in range|failed to open a port in range|is not a valid interface",
            "Infinispan 16, JGroups 5.5; #23330 #24275",
        ),),
        remedy=released(sealed="cache=local", leaves=TABLES),
        explains=("cluster-timeouts", "cluster-rows", "port-taken", *NOT_STARTED),
    ),
    Failure(
        "cluster-timeouts", DEGRADED, "it looks for cluster members that are not there",
        "stale rows in jgroups_ping, or cache is not local", source="#29399 #43327",
        lines=(Line(r"JOIN\(.*\) sent to .* timed out", "#29399 #43327", serving=True),),
        remedy=released(sealed="cache=local", leaves=TABLES), explains=("cluster-rows",),
    ),
)  # fmt: skip
