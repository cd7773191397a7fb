"""A sound Keycloak as the diagnosis sees it, and ways to change one thing about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ops.keycloak.failures.facts import (
    Client,
    ContainerFacts,
    Content,
    Database,
    EdgeFacts,
    Facts,
    LogLine,
    PostgresFacts,
    Role,
    Schema,
    ServerFacts,
    Session,
)

URL = "https://shop.example.com"
NOW = 1_800_000_000.0
ADDRESS = "10.64.6.12"
JDBC = "PostgreSQL JDBC Driver"
BUILT = {
    "db": "postgres", "http-relative-path": "/auth", "http-management-relative-path": "/", "health-enabled": "true",
    "metrics-enabled": "true", "event-metrics-user-enabled": "true", "features-disabled": "ciba,docker", "profile": "prod",
}  # fmt: skip
OPTIONS = {
    "hostname": f"{URL}/auth", "http-enabled": "true", "proxy-headers": "xforwarded", "cache": "local",
    "spi-events-listener--jboss-logging--success-level": "info",
}  # fmt: skip
COMMAND = ("java", "@/opt/keycloak/conf/jvm.options", "start", "--optimized")
CLIENTS = (
    Client("cc03-frontend", redirects=(f"{URL}/",), origins=(URL,)),
    Client("cc03-grafana", redirects=(f"{URL}/grafana/login/generic_oauth",), origins=(URL,)),
    Client("cc03-ops-pages", redirects=(f"{URL}/ops/oauth2/callback",)),
    Client("cc03-backend", standard_flow=False),
    Client("account", redirects=("/realms/cc03/account/*",)),
)
CONTENT = Content(
    version="26.7.3", realms={"master": True, "cc03": True}, ssl_required={"master": "EXTERNAL", "cc03": "EXTERNAL"},
    clients=CLIENTS, key_providers={"rsa-generated": True},
)  # fmt: skip
ISSUER = f"{URL}/auth/realms/cc03"
HEALTHY = Facts(
    public_url=URL, ops_url="https://localhost:9443", now=NOW,
    container=ContainerFacts(
        addresses=frozenset({"10.64.5.12", ADDRESS}), memory_bytes=600 << 20, memory_limit_bytes=2048 << 20, cpu_periods=6,
        cpu_throttled=0,
    ),
    server=ServerFacts(
        built=BUILT, version="26.7.3", command=COMMAND, environment={"KC_RUN_IN_CONTAINER": "true"}, options=OPTIONS,
        jvm=("-XX:MaxRAMPercentage=65",),
    ),
    postgres=PostgresFacts(
        role=Role(), database=Database(), schema=Schema(), content=CONTENT, sessions=(Session(143, ADDRESS, 300.0, JDBC),),
        connections=16, clock_offset=0.1, login="",
    ),
    edge=EdgeFacts(
        ready=200, public=200, discovery={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/protocol/openid-connect/certs"},
        signing_keys=1, certificate_days=80.0, pool_awaiting=0.0, pool_active=1.0, admin=200, clock_offset=0.0,
    ),
)  # fmt: skip


def container(**changes: Any) -> Facts:
    return replace(HEALTHY, container=replace(HEALTHY.container, **changes))


def server(**changes: Any) -> Facts:
    return replace(HEALTHY, server=replace(HEALTHY.server, **changes))


def postgres(**changes: Any) -> Facts:
    return replace(HEALTHY, postgres=replace(HEALTHY.postgres, **changes))


def content(**changes: Any) -> Facts:
    return postgres(content=replace(CONTENT, **changes))


def edge(**changes: Any) -> Facts:
    return replace(HEALTHY, edge=replace(HEALTHY.edge, **changes))


def option(**changes: str) -> Facts:
    """Options of keycloak.conf, with `_` for `-`; an empty one is taken out."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    return server(options={name: value for name, value in {**OPTIONS, **named}.items() if value})


def client(name: str, **changes: Any) -> Facts:
    return content(clients=tuple(replace(one, **changes) if one.client_id == name else one for one in CLIENTS))


def line(text: str, level: str = "ERROR", seconds_ago: float = 30.0) -> LogLine:
    return LogLine(NOW - seconds_ago, level, "test", text)


def logged(facts: Facts, *lines: LogLine) -> Facts:
    return replace(facts, log=lines)


def unseen(facts: Facts) -> Facts:
    """Nobody answers over HTTP."""
    return replace(facts, edge=EdgeFacts())


def failing(*lines: LogLine) -> Facts:
    """A crash loop: restarted for the seventh time; nothing but its container and its log was seen."""
    down = replace(HEALTHY.container, restarts=7, running_seconds=4.0, healthcheck="starting")
    unseen = replace(
        HEALTHY, container=down, edge=EdgeFacts(ready=0, ready_said="Connection refused"), server=ServerFacts(),
        postgres=PostgresFacts(), unread={"database": "no answer within 4.5 s"},
    )  # fmt: skip
    return logged(unseen, *lines)


STARTING = replace(
    HEALTHY, container=replace(HEALTHY.container, running_seconds=20.0, healthcheck="starting"),
    edge=EdgeFacts(ready=503, ready_said="Keycloak Initialized", public=503), postgres=replace(HEALTHY.postgres, content=None),
)  # fmt: skip
"""A first start that is half way."""
