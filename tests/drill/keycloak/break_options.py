"""Ways to break Keycloak by its options: keycloak.conf edited where it is mounted from, variables set by hand."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

from tests.drill.keycloak.break_image import ENTRY
from tests.drill.keycloak.breakage import Act, Breakage, fails_to_start, no_login, serves
from tests.drill.keycloak.hands import SLOT, Keycloak

CROWD, ORIGINS = 16, 4
"""As many who log in as Keycloak has threads (keycloak.conf), from so many addresses that nginx lets all of them through."""
SLOW = """CREATE FUNCTION drill_slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END$$;
CREATE TRIGGER drill_slow AFTER INSERT ON offline_user_session FOR EACH STATEMENT EXECUTE FUNCTION drill_slow()"""
"""Each new session takes half a second of its connection."""


def conf(*, without: str = "", **options: str) -> Act:
    return lambda keycloak: keycloak.configure(without=without, **options)


def variable(name: str, value: str) -> Act:
    def change(definition: dict[str, Any]) -> None:
        definition["environment"] = {**(definition.get("environment") or {}), name: value}

    return lambda keycloak: keycloak.remake(change)


def without_port(keycloak: Keycloak) -> None:
    keycloak.configure(hostname="https://login.elsewhere.example/auth")


def crowded(keycloak: Keycloak) -> None:
    """Three connections for everybody, slow statements, and more who log in at once than nginx lets one address do.

    Fast ones would free a connection sooner than the drill, on a busy host, could send the next request.
    """
    keycloak.configure(db_pool_initial_size="3", db_pool_min_size="3", db_pool_max_size="3")
    keycloak.await_login()
    keycloak.begin_load(CROWD, origins=ORIGINS)
    keycloak.psql(SLOW, SLOT)


def waiting(keycloak: Keycloak) -> str:
    """All the time, and not just where all have begun at once."""
    for _ in range(5):
        metrics = keycloak.inside(9000, "/metrics").text
        found = re.search(r"^agroal_awaiting_count\S* ([\d.]+)", metrics, re.MULTILINE)
        number = float(found[1]) if found else 0.0
        if number < 4:
            return f"{number:.0f} requests wait"
        time.sleep(1)
    return ""


def calm(keycloak: Keycloak) -> None:
    keycloak.psql("DROP FUNCTION IF EXISTS drill_slow CASCADE", SLOT)
    keycloak.end_load()
    keycloak.mend()


edited = partial(Breakage, beside=("config-edited",))
"""What is done in the mounted file is told as well: that it is not the release's."""


def argument(word: str) -> Act:
    def change(definition: dict[str, Any]) -> None:
        definition["entrypoint"] = ["bash", "-c", f"{ENTRY.replace('EDIT', ':')} {word}"]

    return lambda keycloak: keycloak.remake(change)


def plain_management(keycloak: Keycloak) -> None:
    """Without tls.options, which would go before the option."""
    option = "echo http-management-scheme=http >>$state/keycloak.conf"

    def change(definition: dict[str, Any]) -> None:
        definition["entrypoint"] = ["bash", "-c", ENTRY.replace("EDIT", option)]

    keycloak.remake(change)


BREAKAGES = (
    edited("build-option-at-run-time", "build-options-differ", conf(health_enabled="false"), suffers=fails_to_start),
    edited("feature-at-run-time", "build-options-differ", conf(features="docker"), suffers=fails_to_start),
    edited("database-kind-at-run-time", "build-options-differ", conf(db="dev-file"), suffers=fails_to_start),
    Breakage("old-proxy-variable", "option-removed", variable("KC_PROXY", "edge"), suffers=serves),
    edited("old-hostname-option", "option-removed", conf(hostname_url="https://localhost/auth"), suffers=serves),
    Breakage("misspelled-option", "config-edited", conf(databse_url_host="postgres"), suffers=serves),
    Breakage("unknown-option", "option-unknown", argument("--databse-url-host=postgres"), suffers=fails_to_start),
    edited("bad-value", "option-unknown", conf(proxy_headers="xforwardd"), suffers=fails_to_start),
    edited(
        "old-provider-option", "provider-option-old-name", conf(spi_events_listener_jboss_logging_success_level="debug"),
        suffers=serves,
    ),
    edited("hostname-wrong", "hostname-wrong", without_port),
    edited("hostname-invalid", "hostname-invalid", conf(hostname="https://bad host/auth"), suffers=fails_to_start),
    Breakage("jvm-option", "jvm-option", variable("JAVA_TOOL_OPTIONS", "-XX:+UseNothing"), suffers=fails_to_start),
    edited("hostname-unset", "hostname-unset", conf(without="hostname hostname-admin"), suffers=fails_to_start),
    edited("hostname-admin-alone", "hostname-unset", conf(without="hostname"), suffers=fails_to_start),
    edited("proxy-headers-missing", "proxy-headers", conf(without="proxy-headers"), suffers=no_login),
    Breakage("management-plain", "management-plain", plain_management, suffers=serves),
    edited(
        "no-certificate", "https-key-missing", conf(without="https-certificate-file https-certificate-key-file"),
        suffers=fails_to_start,
    ),
    edited(
        "truststore-missing", "truststore-missing", conf(truststore_paths="/etc/cc03/current/private-ca.pem"),
        suffers=fails_to_start,
    ),
    edited("database-host-wrong", "database-unreachable", conf(db_url_host="postgress"), suffers=no_login),
    edited("pool-exhausted", "pool-exhausted", crowded, calm, suffers=waiting, mends=False),
    edited("cluster-cache", "cluster-rows", conf(cache="ispn"), suffers=serves),
)  # fmt: skip
