"""Pools of connections, threads and descriptors: each is at least as large as what those who draw on it can want at once.

The numbers are read from the files that set them; docs/explanation/pools.md shows the same ones.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from ops.core.machine import REPOSITORY
from ops.engines.podman.host import CONTAINER_NOFILE
from ops.keycloak.repair.sql import LIMIT
from ops.stack.model import MAX_REPLICAS
from ops.stack.value_types import memory_bytes

NESTED = 2
"""Connections that one thread of Keycloak holds at once: its request's, and that of an event of failure, which is stored in a
transaction of its own (EventBuilder.error, runJobInTransaction)."""
BRUTE_FORCE_THREADS = 4
"""They count failed logins and store an event where a user is locked: DEFAULT_MIN_THREADS of DefaultExecutorsProviderFactory,
which its unbounded queue never lets grow."""
BACKGROUND = (BRUTE_FORCE_THREADS + 1 + 1) * NESTED + 1
"""Connections of Keycloak for what is no request: those threads, the timer of scheduled tasks, the writer of sessions, and the
readiness probe, which has one thread of its own."""
BACKENDS = MAX_REPLICAS + 1
"""Containers of the backend: all replicas, and the extra one of a rolling update."""
SPARE = 2
"""Connections of a role beside its pool: a login that proves a rotated password, a migration."""
PRODUCT_DATABASES = 8
"""Of a product team, beside those that roles.sql makes: a backup has a session in each of them at once."""
REDIS_SUBSCRIPTIONS = 1
REDIS_OTHERS = 20
"""Clients of Redis beside the backends: the exporter, the backup's replica, health checks."""


LARGEST_CONNECTION = 50 * 1024
"""Bytes of nginx' memory for a TLS handshake that is not continued, and the kernel's for its socket: 48 KB (measured). One
that is established and idle takes 32 KB."""
NGINX_ITSELF = 30 << 20


@cache
def text(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def number(path: str, pattern: str) -> int:
    """The number that a file sets. Fails where the pattern is not found exactly once."""
    found = re.findall(pattern, text(path), re.MULTILINE)
    assert len(found) == 1, f"{path}: {pattern!r} is found {len(found)} times"
    return int(found[0])


@cache
def role_limits() -> dict[str, int]:
    roles = text("compose/postgres/roles.sql")
    return {name: int(limit) for name, limit in re.findall(r"^ALTER ROLE (\w+) .*CONNECTION LIMIT (\d+);", roles, re.MULTILINE)}


def pools() -> dict[str, int]:
    """Name, as in docs/explanation/pools.md -> size."""
    keycloak, postgres, redis = "config/keycloak/keycloak.conf", "config/postgres/postgresql.conf", "config/redis/redis.conf"
    return {
        "`http-pool-max-threads`": number(keycloak, r"^http-pool-max-threads=(\d+)$"),
        "`http-max-queued-requests`": number(keycloak, r"^http-max-queued-requests=(\d+)$"),
        "`db-pool-max-size`": number(keycloak, r"^db-pool-max-size=(\d+)$"),
        "`db-pool-min-size`": number(keycloak, r"^db-pool-min-size=(\d+)$"),
        "`CC03_DATABASE_POOL_MAX`": number("compose/backend/app/settings.py", r'"CC03_DATABASE_POOL_MAX", (\d+),'),
        "`max_connections` of the Redis client": number("compose/backend/app/cache.py", r"^ +max_connections=(\d+),$"),
        "`max_open_conn`": number("config/grafana/grafana.ini", r"^max_open_conn = (\d+)$"),
        "`max_connections`": number(postgres, r"^max_connections = (\d+)$"),
        "`superuser_reserved_connections`": number(postgres, r"^superuser_reserved_connections = (\d+)$"),
        "`max_wal_senders`": number(postgres, r"^max_wal_senders = (\d+)$"),
        **{f"role `{role}`": limit for role, limit in role_limits().items()},
        "`maxclients`": number(redis, r"^maxclients (\d+)$"),
        "`worker_processes`": number("config/nginx/nginx.conf", r"^worker_processes (\d+);$"),
        "`worker_connections`": number("config/nginx/nginx.conf", r"^ +worker_connections (\d+);$"),
        "`nofile`": CONTAINER_NOFILE,
        "`limit_conn forms`": number("config/nginx/public.conf", r"^ +limit_conn forms (\d+);$"),
        "`limit_conn tokens`": number("config/nginx/public.conf", r"^ +limit_conn tokens (\d+);$"),
    }


def test_keycloak_has_a_connection_for_all_that_its_threads_can_hold() -> None:
    size = pools()

    assert size["`db-pool-max-size`"] >= size["`http-pool-max-threads`"] * NESTED + BACKGROUND
    assert size["`db-pool-min-size`"] >= size["`http-pool-max-threads`"] + BRUTE_FORCE_THREADS
    assert role_limits()["keycloak"] >= size["`db-pool-max-size`"] + SPARE


def test_a_repaired_role_has_the_limit_of_a_new_one() -> None:
    assert role_limits()["keycloak"] == LIMIT


def test_all_backends_together_stay_within_their_roles() -> None:
    """All of them may log in as either of the two roles."""
    wanted = BACKENDS * pools()["`CC03_DATABASE_POOL_MAX`"] + SPARE

    assert role_limits()["app"] == role_limits()["app_2"] >= wanted


def test_grafana_stays_within_its_role() -> None:
    assert role_limits()["grafana"] >= pools()["`max_open_conn`"] + SPARE


def test_a_backup_can_see_all_databases_at_one_moment() -> None:
    """The snapshots are taken under one more session; the check of the WAL has one of its own."""
    (own,) = re.findall(r"FROM \(VALUES (.+)\) AS wanted \(name, owner\)", text("compose/postgres/roles.sql"))
    databases = own.count("(") + 1 + PRODUCT_DATABASES

    assert role_limits()["backup"] >= databases + 2 + 1


def test_postgres_has_a_place_for_every_role_at_once() -> None:
    size = pools()

    assert size["`max_connections`"] >= sum(role_limits().values()) + size["`superuser_reserved_connections`"]
    assert role_limits()["receiver"] >= size["`max_wal_senders`"]


def test_redis_takes_all_backends() -> None:
    size = pools()

    each = size["`max_connections` of the Redis client"] + REDIS_SUBSCRIPTIONS
    assert size["`maxclients`"] >= BACKENDS * each + REDIS_OTHERS


def test_nginx_has_descriptors_for_its_connections() -> None:
    """A connection may have a file beside its socket."""
    size = pools()

    assert size["`nofile`"] >= 2 * size["`worker_connections`"]
    # A request for Keycloak takes four: the client's, two of the listener between, and that to Keycloak.
    assert size["`worker_processes`"] * size["`worker_connections`"] > 2 * 4 * size["`http-max-queued-requests`"]


def test_nginx_has_memory_for_its_connections() -> None:
    """For all of them at once, and a /tmp that is full: else the kernel kills workers, and all their requests with them."""
    size = pools()
    nginx = yaml.safe_load(text("compose/compose.yaml"))["services"]["nginx"]
    connections = size["`worker_processes`"] * size["`worker_connections`"] * LARGEST_CONNECTION
    tmp = sum(memory_bytes(mount.rpartition("size=")[2]) for mount in nginx["tmpfs"])

    assert memory_bytes(nginx["deploy"]["resources"]["limits"]["memory"]) >= connections + tmp + NGINX_ITSELF


def test_no_address_can_occupy_all_threads_of_keycloak() -> None:
    size = pools()

    assert size["`limit_conn forms`"] * 3 < size["`http-pool-max-threads`"]
    assert size["`limit_conn tokens`"] < size["`http-pool-max-threads`"]


def test_the_table_shows_the_numbers_that_are_set() -> None:
    rows = (re.split(r" *\| *", line.strip("| ")) for line in text("docs/explanation/pools.md").splitlines() if "|" in line)
    shown = {row[0]: row[1].replace(",", "") for row in rows}

    assert {name: shown.get(name) for name in pools()} == {name: str(size) for name, size in pools().items()}
