"""Ways to break PostgreSQL as Keycloak uses it."""

from __future__ import annotations

from ops.core.process import until
from ops.engines.podman import argv as podman
from ops.keycloak.repair.sql import LIMIT
from tests.drill.keycloak.breakage import Act, Breakage, at_once, fails_to_start, no_login, restart, serves, sql, start, then
from tests.drill.keycloak.hands import SLOT, Keycloak

AWAY = "keycloak_away"
JDBC_ENDS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%JDBC%'"
HELD = "SELECT pg_sleep(900);"
FREE = """SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
  - count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"""
"""Sessions that others than the superuser can still open."""
ROLE_FREE = f"""SELECT rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = rolname) FROM pg_roles
  WHERE rolname = '{SLOT}'"""  # noqa: S608


def psql_in_background(*commands: str, database: str = SLOT) -> Act:
    """A session that stays open, in the name of the superuser."""
    argv = ["psql", "--username=postgres", f"--dbname={database}", *(f"--command={text}" for text in commands)]

    def act(keycloak: Keycloak) -> None:
        keycloak.podman("exec", "--detach", keycloak.name("postgres"), *argv)

    return act


def fill(keycloak: Keycloak) -> None:
    """Sessions that somebody has opened and does nothing with. Only the superuser's can be so many: the others have limits.

    Keycloak is kept out until the last one is taken, else it would hold on to its own.
    """
    keycloak.psql(f"ALTER DATABASE {SLOT} ALLOW_CONNECTIONS false")
    keycloak.disconnect()
    one = f"psql --username=postgres --dbname=postgres --command='{HELD}'"
    # One more: the count has the session that counts.
    script = f"for number in $(seq {int(keycloak.psql(FREE)) + 1}); do {one} >/dev/null 2>&1 </dev/null & done; wait"
    keycloak.podman("exec", "--detach", keycloak.name("postgres"), "bash", "-c", script)
    reason = until(lambda: "" if (left := int(keycloak.psql(FREE))) <= 0 else f"{left} sessions are free", 60.0)
    keycloak.psql(f"ALTER DATABASE {SLOT} ALLOW_CONNECTIONS true")
    assert not reason, reason


def end_sleepers(keycloak: Keycloak) -> None:
    keycloak.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(900)%' AND pid <> pg_backend_pid()"
    )


def role_used_up(keycloak: Keycloak) -> None:
    """Another program with Keycloak's password takes every connection of the role, while Keycloak cannot take one back."""
    password = keycloak.live.secret("postgres-keycloak")
    script = (
        "IFS= read -r PGPASSWORD; export PGPASSWORD; for number in $(seq 60); do "
        f"psql --host=127.0.0.1 --username={SLOT} --dbname={SLOT} --command='{HELD}' >/dev/null 2>&1 </dev/null & done"
    )
    argv = podman.exec_with_input(keycloak.name("postgres"), ("bash", "-c", script))
    keycloak.podman("pause", keycloak.name())
    keycloak.psql(JDBC_ENDS)
    keycloak.drill.project.host.run(argv, stdin=password + "\n", timeout=20, ok=None)
    reason = until(lambda: "" if (left := int(keycloak.psql(ROLE_FREE))) <= 0 else f"{left} connections are free", 60.0)
    keycloak.podman("unpause", keycloak.name())
    assert not reason, reason


def password_back(keycloak: Keycloak) -> None:
    keycloak.psql(f"ALTER ROLE {SLOT} PASSWORD '{keycloak.live.secret('postgres-keycloak')}'")


def second(keycloak: Keycloak) -> None:
    """One that somebody has started beside it, with the same file and the same secrets."""

    def change(definition: dict[str, object]) -> None:
        networks = definition["networks"]
        assert isinstance(networks, dict)
        for network in networks.values():
            network["ipv4_address"] = network["ipv4_address"].rpartition(".")[0] + ".99"
            network.pop("mac_address", None)
        definition["logging"] = {"driver": "k8s-file"}

    keycloak.remake(change, name=keycloak.name("second"))
    keycloak.strangers.add(keycloak.name("second"))


def second_serves(keycloak: Keycloak) -> str:
    said = keycloak.podman("logs", keycloak.name("second"), ok=None)
    return "" if "Listening on" in said.stdout + said.stderr and not serves(keycloak) else "the second one has not started yet"


def lock_awaited(keycloak: Keycloak) -> str:
    waiting = keycloak.psql("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return no_login(keycloak) if waiting != "0" else "Keycloak does not wait for the lock yet"


def remove_second(keycloak: Keycloak) -> None:
    keycloak.remove(keycloak.name("second"))


def stop_postgres(keycloak: Keycloak) -> None:
    keycloak.podman("stop", "--time", "20", keycloak.name("postgres"))


BREAKAGES = (
    Breakage("wrong-password", "password-drift", sql(f"ALTER ROLE {SLOT} PASSWORD 'changed-by-hand'"), password_back),
    Breakage("wrong-password-at-start", "password-drift", then(sql(f"ALTER ROLE {SLOT} PASSWORD 'x'"), restart), password_back),
    Breakage("role-nologin", "role-cannot-login", sql(f"ALTER ROLE {SLOT} NOLOGIN"), sql(f"ALTER ROLE {SLOT} LOGIN")),
    Breakage(
        "role-limit-zero", "role-cannot-login", sql(f"ALTER ROLE {SLOT} CONNECTION LIMIT 0"),
        sql(f"ALTER ROLE {SLOT} CONNECTION LIMIT {LIMIT}"),
    ),
    Breakage(
        "role-expired", "role-cannot-login", sql(f"ALTER ROLE {SLOT} VALID UNTIL '2020-01-01'"),
        sql(f"ALTER ROLE {SLOT} VALID UNTIL 'infinity'"),
    ),
    Breakage(
        "schema-revoked", "schema-rights", sql("REVOKE ALL ON SCHEMA public FROM pg_database_owner, PUBLIC", database=SLOT),
        sql("GRANT ALL ON SCHEMA public TO pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC", database=SLOT),
    ),
    Breakage(
        "tables-of-another-role", "schema-rights",
        then(sql("ALTER TABLE realm OWNER TO postgres; ALTER TABLE user_entity OWNER TO postgres", database=SLOT), restart),
        sql(f"ALTER TABLE realm OWNER TO {SLOT}; ALTER TABLE user_entity OWNER TO {SLOT}", database=SLOT),
    ),
    Breakage(
        "role-read-only", "postgres-read-only", sql(f"ALTER ROLE {SLOT} SET default_transaction_read_only = on"),
        sql(f"ALTER ROLE {SLOT} RESET default_transaction_read_only"),
    ),
    Breakage(
        "lock-table-of-another-role", "lock-table-rights",
        then(sql("ALTER TABLE databasechangeloglock OWNER TO postgres", database=SLOT), restart),
        sql(f"ALTER TABLE databasechangeloglock OWNER TO {SLOT}", database=SLOT), suffers=fails_to_start,
    ),
    Breakage(
        "database-owner", "database-wrong-owner", sql(f"ALTER DATABASE {SLOT} OWNER TO app"),
        sql(f"ALTER DATABASE {SLOT} OWNER TO {SLOT}; REVOKE ALL ON DATABASE {SLOT} FROM PUBLIC"),
    ),
    Breakage(
        "database-closed", "database-closed", sql(f"ALTER DATABASE {SLOT} ALLOW_CONNECTIONS false"),
        sql(f"ALTER DATABASE {SLOT} ALLOW_CONNECTIONS true"),
    ),
    Breakage(
        "database-renamed", "database-missing",
        then(
            sql(f"ALTER DATABASE {SLOT} ALLOW_CONNECTIONS false"),
            sql(f"ALTER DATABASE {SLOT} RENAME TO {AWAY}; ALTER DATABASE {AWAY} ALLOW_CONNECTIONS true", disconnect=False),
        ),
        sql(f"ALTER DATABASE {AWAY} RENAME TO {SLOT}", disconnect=False), mends=False,
    ),
    Breakage(
        "change-log-lock", "changelog-lock",
        then(psql_in_background("BEGIN", "SELECT * FROM databasechangeloglock FOR UPDATE", HELD), restart), end_sleepers,
        suffers=lock_awaited,
    ),
    Breakage("role-used-up", "role-connections-full", role_used_up, end_sleepers),
    Breakage("postgres-stopped", "postgres-down", stop_postgres, start("postgres"), unwatched=True),
    Breakage("postgres-full", "postgres-full", fill, end_sleepers, mends=False),
    Breakage(
        "stale-cluster-rows", "cluster-rows",
        sql(
            "INSERT INTO jgroups_ping (address, name, cluster_name, ip, coord) VALUES "
            "('00000000-0000-0000-0000-000000000001', 'gone-4711', 'ISPN', '10.64.1.77:7800', true)",
            database=SLOT, disconnect=False,
        ),
        sql("DELETE FROM jgroups_ping", database=SLOT, disconnect=False), suffers=at_once,
    ),
    Breakage("second-keycloak", "second-keycloak", second, remove_second, suffers=second_serves),
)  # fmt: skip
