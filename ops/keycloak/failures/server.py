"""What shows failures of Keycloak's container, its image and options, its host name and certificates: a function for each
failure, named as it is, which says in words what the facts show; empty: they do not show it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ops.keycloak.failures.facts import REALM, Facts

HEAP_PERCENT = 85.0
"""Of the container's memory: beyond it the rest of the JVM (about 300 MB) has no room in 2 GB."""
FULL = 0.93
"""Part of the memory limit from which on it counts as nearly used up; 70 % heap and 300 MB are 85 % of 2 GB."""
THROTTLED = 0.7
"""Part of the CPU periods in which it was held back. A start is always so, and is not judged."""
PERIODS = 10
ORDERLY = (0, 143)
"""Exit codes of a stop: Java answers SIGTERM with 128 + 15."""
KILLED = 137


def container_missing(facts: Facts) -> str:
    return "Podman knows no container of it" if facts.container.status == "missing" else ""


def container_lost(facts: Facts) -> str:
    return "Podman says that it runs; neither its process nor its monitor exists" if facts.container.status == "lost" else ""


def heap_percent(facts: Facts) -> float | None:
    """Largest heap in percent of the container's memory, by the JVM's own options."""
    limit = facts.container.memory_limit_bytes
    # What the JVM and its launcher read themselves: kc.sh, which reads JAVA_OPTS, is not run here.
    read = (facts.server.environment.get(name, "") for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"))
    words = " ".join((*facts.server.jvm, *facts.server.command, *read))
    if match := re.findall(r"-Xmx(\d+)([kmg])\b", words, re.IGNORECASE):
        number, unit = match[-1]
        size = int(number) << {"k": 10, "m": 20, "g": 30}[unit.lower()]
        return 100 * size / limit if limit else None
    percents = re.findall(r"-XX:MaxRAMPercentage=([\d.]+)", words)
    return float(percents[-1]) if percents else None


def heap_too_large(facts: Facts) -> str:
    percent = heap_percent(facts)
    return f"the heap may take {percent:.0f} % of the container's memory" if percent and percent > HEAP_PERCENT else ""


def out_of_memory(facts: Facts) -> str:
    container = facts.container
    code = container.exit_code if container.status == "exited" else container.last_exit
    if facts.ready or not (container.oom_killed or code == KILLED):
        return ""
    return f"exit code {code}" + (", killed for lack of memory" if container.oom_killed else "")


def memory_near_limit(facts: Facts) -> str:
    used, limit = facts.container.memory_bytes, facts.container.memory_limit_bytes
    # More than the limit is what was read of another control group, while the container is between two starts.
    if not used or not limit or not FULL * limit <= used <= limit:
        return ""
    return f"{used >> 20} MB of {limit >> 20} MB"


def cpu_throttled(facts: Facts) -> str:
    periods, throttled = facts.container.cpu_periods or 0, facts.container.cpu_throttled or 0
    if not facts.ready or periods < PERIODS or throttled < THROTTLED * periods:
        return ""
    return f"held back in {throttled} of the last {periods} periods of its CPU limit"


def crash_loop(facts: Facts) -> str:
    container = facts.container
    return f"{container.restarts} restarts, the last {container.running_seconds or 0:.0f} s ago" if facts.looping else ""


def stopped(facts: Facts) -> str:
    container = facts.container
    return "it is " + container.status if container.status in ("created", "paused", "stopping") or (
        container.status in ("exited", "stopped") and container.exit_code in ORDERLY
    ) else ""  # fmt: skip


def exited(facts: Facts) -> str:
    container = facts.container
    ended = container.status in ("exited", "stopped") and container.exit_code not in ORDERLY
    return f"exit code {container.exit_code}" if ended else ""


def not_ready(facts: Facts) -> str:
    if not facts.running or facts.edge.ready in (None, 200) or facts.starting or facts.looping:
        return ""
    seconds = facts.container.running_seconds
    return f"after {seconds or 0:.0f} s: {facts.edge.ready_said or f'HTTP {facts.edge.ready}'}"


def healthcheck_wrong(facts: Facts) -> str:
    if not facts.ready or facts.container.healthcheck != "unhealthy":
        return ""
    return facts.container.healthcheck_said or "Podman says unhealthy, port 9000 says ready"


def management_plain(facts: Facts) -> str:
    return "TLS was refused on port 9000, plain HTTP was not" if facts.edge.management_plain else ""


def secret_stale(facts: Facts) -> str:
    return ", ".join(facts.container.stale_secrets) if facts.running else ""


def secret_missing(facts: Facts) -> str:
    names = facts.container.empty_secrets
    return f"the state folder holds no value of {', '.join(names)}" if names else ""


BUILD_OPTIONS = {
    "db": "postgres", "http-relative-path": "/auth", "http-management-relative-path": "/", "health-enabled": "true",
    "metrics-enabled": "true", "event-metrics-user-enabled": "true",
}  # fmt: skip
"""What compose/keycloak/Containerfile builds in, and this stack relies on."""
BUILD_ONLY = frozenset({*BUILD_OPTIONS, "features", "features-disabled", "transaction-xa-enabled"})
"""Options that act when the image is built (all configuration guide, build options)."""
REMOVED = {
    "proxy": "proxy-headers and http-enabled", "hostname-url": "hostname", "hostname-admin-url": "hostname-admin",
    "hostname-path": "hostname", "hostname-port": "hostname", "hostname-strict-https": "hostname with https://",
    "hostname-strict-backchannel": "hostname-backchannel-dynamic", "http-log-enabled": "http-access-log-enabled",
    "legacy-observability-interface": "the management port 9000",
}  # fmt: skip
"""Option that is gone -> what takes its place (upgrading guides 25.0 and 26.0)."""
DEPRECATED_VARIABLES = {
    "KEYCLOAK_ADMIN": "KC_BOOTSTRAP_ADMIN_USERNAME",
    "KEYCLOAK_ADMIN_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
}
"""Variable that still acts -> what will take its place (upgrading guide 26.0)."""
REMOVED_VARIABLES = {
    "KEYCLOAK_USER": "KC_BOOTSTRAP_ADMIN_USERNAME", "KEYCLOAK_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
    "KEYCLOAK_FRONTEND_URL": "KC_HOSTNAME", "PROXY_ADDRESS_FORWARDING": "KC_PROXY_HEADERS",
    "DB_VENDOR": "KC_DB", "DB_ADDR": "KC_DB_URL_HOST", "DB_PASSWORD": "KC_DB_PASSWORD",
}  # fmt: skip


def image_not_built(facts: Facts) -> str:
    built = facts.server.built
    return "the image holds no persisted build options" if built is not None and not built and not facts.ready else ""


def build_options_differ(facts: Facts) -> str:
    built = facts.server.built
    if not built:
        return ""
    asked = {name: value for name, value in facts.given().items() if name in BUILD_ONLY}
    differing = {**BUILD_OPTIONS, **asked}
    wrong = [
        f"{name}: built {built.get(name, '(nothing)')}, wanted {value}"
        for name, value in sorted(differing.items()) if built.get(name) != value and not (name == "db" and h2_in_use(facts))
    ]  # fmt: skip
    return "; ".join(wrong)


def config_edited(facts: Facts) -> str:
    # A deploy writes the configuration before it seals the release.
    changed = facts.server.edited if not facts.under_way else ()
    return f"not as in the release: {', '.join(changed)}" if changed else ""


def rebuilds_at_start(facts: Facts) -> str:
    words = facts.server.command
    return "start without --optimized" if "start" in words and "--optimized" not in words else ""


def dev_mode(facts: Facts) -> str:
    if "start-dev" in facts.server.command:
        return "start-dev"
    return "profile dev is built in" if (facts.server.built or {}).get("profile") == "dev" else ""


def option_removed(facts: Facts) -> str:
    old = [f"{name} (now: {REMOVED[name]})" for name in facts.given() if name in REMOVED]
    old += [f"{name} (now: {REMOVED_VARIABLES[name]})" for name in facts.server.environment if name in REMOVED_VARIABLES]
    return ", ".join(sorted(old))


def provider_option_old_name(facts: Facts) -> str:
    return ", ".join(sorted(name for name in facts.given() if name.startswith("spi-") and "--" not in name))


def sessions_not_persistent(facts: Facts) -> str:
    disabled = (facts.server.built or {}).get("features-disabled", "").split(",")
    return "persistent-user-sessions is disabled" if "persistent-user-sessions" in disabled else ""


def h2_in_use(facts: Facts) -> str:
    built = facts.server.built
    # One that was never built has a finding of its own. What is set beside another value that is built in ends the start.
    if not built:
        return ""
    kind, how = built.get("db"), "built in"
    if rebuilds_at_start(facts) and "db" in facts.given():
        kind, how = facts.given()["db"], "set"
    if kind and not kind.startswith("dev-"):
        return ""
    # Unset, it is dev-file.
    return f"db={kind} is {how}" if kind else "db is not built in"


def h2_leftovers(facts: Facts) -> str:
    return ", ".join(facts.server.h2_files)


def image_built(facts: Facts) -> bool:
    return bool(facts.server.built)


def hostname_given(facts: Facts) -> bool:
    return bool(facts.given().get("hostname"))


def on_postgres(facts: Facts) -> bool:
    built = facts.server.built or {}
    return built.get("db") == "postgres" and facts.given().get("db", "postgres") == "postgres"


EXPIRES_DAYS = 7.0
"""inv deploy and the ticker renew long before."""


def hostname_unset(facts: Facts) -> str:
    options = facts.server.options
    strict = facts.given().get("hostname-strict", "true") == "true"
    return "hostname is not set" if options is not None and strict and not facts.given().get("hostname") else ""


def hostname_wrong(facts: Facts) -> str:
    expected = f"{facts.public_url}/auth/realms/{REALM}"
    issuer = facts.edge.discovery.get("issuer")
    if issuer and issuer != expected and not _only_scheme(issuer, expected):
        return f"the issuer is {issuer}, it should be {expected}"
    hostname = facts.given().get("hostname")
    if hostname and hostname != f"{facts.public_url}/auth" and not issuer:
        return f"hostname={hostname}, it should be {facts.public_url}/auth"
    return ""


def _only_scheme(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.scheme != second.scheme and first.hostname == second.hostname and first.path == second.path


def proxy_headers(facts: Facts) -> str:
    options = facts.server.options
    # One that is set to what there is not ends the start, and the log says so.
    if options is not None and not facts.given().get("proxy-headers"):
        return "proxy-headers is not set"
    expected = urlsplit(facts.public_url).scheme
    plain = [name for name, url in sorted(facts.edge.discovery.items()) if url.startswith("http://") and expected == "https"]
    return f"the discovery document has http:// in {', '.join(plain)}" if plain else ""


def https_key_missing(facts: Facts) -> str:
    missing = facts.server.options is not None and not facts.reachable()
    return "http-enabled is not true, and there is no certificate" if missing and not facts.ready else ""


def nginx_down(facts: Facts) -> str:
    return f"its container is {facts.nginx}" if facts.nginx != "running" else ""


def edge_fails(facts: Facts) -> str:
    edge = facts.edge
    if not facts.ready or edge.public in (None, 200) or edge.certificate_said:
        return ""
    return f"the discovery document: {edge.public_said or f'HTTP {edge.public}'} through nginx"


def certificate_untrusted(facts: Facts) -> str:
    days = facts.edge.certificate_days
    return facts.edge.certificate_said or ("it has expired" if days is not None and days <= 0 else "")


def certificate_expires(facts: Facts) -> str:
    days = facts.edge.certificate_days
    return f"in {days:.1f} days" if days is not None and 0 < days < EXPIRES_DAYS else ""


def certificate_stale(facts: Facts) -> str:
    return "what nginx shows is not certs/nginx/cert.pem" if facts.edge.certificate_stale else ""


def truststore_missing(facts: Facts) -> str:
    missing = facts.server.truststores_missing
    return f"truststore-paths names {', '.join(missing)}, which is not there" if missing else ""
