"""What shows a failure mode of container, image, options or H2. Each rule: facts in, what was seen out; empty: not this one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from ops.keycloak.failures.facts import Facts

Rule = Callable[[Facts], str]
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


def given(facts: Facts) -> Mapping[str, str]:
    """Every option by its name in keycloak.conf, from the file, the environment and the command, the later ones winning."""
    server = facts.server
    variables = {
        name.removeprefix("KC_").lower().replace("_", "-"): value
        for name, value in server.environment.items() if name.startswith("KC_") and name != "KC_RUN_IN_CONTAINER"
    }  # fmt: skip
    words = (word[2:].partition("=") for word in server.command if word.startswith("--") and "=" in word)
    return {**(server.options or {}), **variables, **{name: value for name, _, value in words}}


def _missing(facts: Facts) -> str:
    return "Podman knows no container of it" if facts.container.status == "missing" else ""


def _lost(facts: Facts) -> str:
    return "Podman says that it runs; neither its process nor its monitor exists" if facts.container.status == "lost" else ""


def heap_percent(facts: Facts) -> float | None:
    """Largest heap in percent of the container's memory, by the JVM's own options."""
    limit = facts.container.memory_limit_bytes
    words = " ".join((*facts.server.jvm, *facts.server.command, *_java(facts)))
    if match := re.findall(r"-Xmx(\d+)([kmg])\b", words, re.IGNORECASE):
        number, unit = match[-1]
        size = int(number) << {"k": 10, "m": 20, "g": 30}[unit.lower()]
        return 100 * size / limit if limit else None
    percents = re.findall(r"-XX:MaxRAMPercentage=([\d.]+)", words)
    return float(percents[-1]) if percents else None


def _java(facts: Facts) -> Iterator[str]:
    # What the JVM and its launcher read themselves: kc.sh, which reads JAVA_OPTS, is not run here.
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"):
        yield facts.server.environment.get(name, "")


def _heap(facts: Facts) -> str:
    percent = heap_percent(facts)
    return f"the heap may take {percent:.0f} % of the container's memory" if percent and percent > HEAP_PERCENT else ""


def _killed(facts: Facts) -> str:
    container = facts.container
    code = container.exit_code if container.status == "exited" else container.last_exit
    if facts.ready or not (container.oom_killed or code == KILLED):
        return ""
    return f"exit code {code}" + (", killed for lack of memory" if container.oom_killed else "")


def _memory(facts: Facts) -> str:
    used, limit = facts.container.memory_bytes, facts.container.memory_limit_bytes
    # More than the limit is what was read of another control group, while the container is between two starts.
    if not used or not limit or not FULL * limit <= used <= limit:
        return ""
    return f"{used >> 20} MB of {limit >> 20} MB"


def _throttled(facts: Facts) -> str:
    periods, throttled = facts.container.cpu_periods or 0, facts.container.cpu_throttled or 0
    if not facts.ready or periods < PERIODS or throttled < THROTTLED * periods:
        return ""
    return f"held back in {throttled} of the last {periods} periods of its CPU limit"


def _loop(facts: Facts) -> str:
    container = facts.container
    return f"{container.restarts} restarts, the last {container.running_seconds or 0:.0f} s ago" if facts.looping else ""


def _stopped(facts: Facts) -> str:
    container = facts.container
    return "it is " + container.status if container.status in ("created", "paused", "stopping") or (
        container.status in ("exited", "stopped") and container.exit_code in ORDERLY
    ) else ""  # fmt: skip


def _exited(facts: Facts) -> str:
    container = facts.container
    ended = container.status in ("exited", "stopped") and container.exit_code not in ORDERLY
    return f"exit code {container.exit_code}" if ended else ""


def _not_ready(facts: Facts) -> str:
    if not facts.running or facts.edge.ready in (None, 200) or facts.starting or facts.looping:
        return ""
    seconds = facts.container.running_seconds
    return f"after {seconds or 0:.0f} s: {facts.edge.ready_said or f'HTTP {facts.edge.ready}'}"


def _healthcheck(facts: Facts) -> str:
    if not facts.ready or facts.container.healthcheck != "unhealthy":
        return ""
    return facts.container.healthcheck_said or "Podman says unhealthy, port 9000 says ready"


def reachable(options: Mapping[str, str]) -> bool:
    """Whether it is told to speak plain HTTP, or has a certificate."""
    return options.get("http-enabled") == "true" or any(
        options.get(name) for name in ("https-certificate-file", "https-key-store-file")
    )


def _management(facts: Facts) -> str:
    return "TLS was refused on port 9000, plain HTTP was not" if facts.edge.management_plain else ""


def _stale(facts: Facts) -> str:
    return ", ".join(facts.container.stale_secrets) if facts.running else ""


def _empty(facts: Facts) -> str:
    names = facts.container.empty_secrets
    return f"the state folder holds no value of {', '.join(names)}" if names else ""


def _not_built(facts: Facts) -> str:
    built = facts.server.built
    return "the image holds no persisted build options" if built is not None and not built and not facts.ready else ""


def _build_options(facts: Facts) -> str:
    built = facts.server.built
    if not built:
        return ""
    asked = {name: value for name, value in given(facts).items() if name in BUILD_ONLY}
    differing = {**BUILD_OPTIONS, **asked}
    wrong = [
        f"{name}: built {built.get(name, '(nothing)')}, wanted {value}"
        for name, value in sorted(differing.items()) if built.get(name) != value and not (name == "db" and _h2(facts))
    ]  # fmt: skip
    return "; ".join(wrong)


def _edited(facts: Facts) -> str:
    # A deploy writes the configuration before it seals the release.
    changed = facts.server.edited if not facts.under_way else ()
    return f"not as in the release: {', '.join(changed)}" if changed else ""


def _rebuilds(facts: Facts) -> str:
    words = facts.server.command
    return "start without --optimized" if "start" in words and "--optimized" not in words else ""


def _dev(facts: Facts) -> str:
    if "start-dev" in facts.server.command:
        return "start-dev"
    return "profile dev is built in" if (facts.server.built or {}).get("profile") == "dev" else ""


def _removed(facts: Facts) -> str:
    old = [f"{name} (now: {REMOVED[name]})" for name in given(facts) if name in REMOVED]
    old += [f"{name} (now: {REMOVED_VARIABLES[name]})" for name in facts.server.environment if name in REMOVED_VARIABLES]
    return ", ".join(sorted(old))


def _old_name(facts: Facts) -> str:
    return ", ".join(sorted(name for name in given(facts) if name.startswith("spi-") and "--" not in name))


def _not_persistent(facts: Facts) -> str:
    disabled = (facts.server.built or {}).get("features-disabled", "").split(",")
    return "persistent-user-sessions is disabled" if "persistent-user-sessions" in disabled else ""


def _h2(facts: Facts) -> str:
    built = facts.server.built
    # One that was never built has a finding of its own. What is set beside another value that is built in ends the start.
    if not built:
        return ""
    kind, how = built.get("db"), "built in"
    if _rebuilds(facts) and "db" in given(facts):
        kind, how = given(facts)["db"], "set"
    if kind and not kind.startswith("dev-"):
        return ""
    # Unset, it is dev-file.
    return f"db={kind} is {how}" if kind else "db is not built in"


def _h2_files(facts: Facts) -> str:
    return ", ".join(facts.server.h2_files)


RULES: Mapping[str, Rule] = {
    "container-missing": _missing, "container-lost": _lost, "heap-too-large": _heap, "out-of-memory": _killed,
    "memory-near-limit": _memory, "cpu-throttled": _throttled, "crash-loop": _loop, "stopped": _stopped, "exited": _exited,
    "not-ready": _not_ready, "healthcheck-wrong": _healthcheck, "management-plain": _management, "secret-stale": _stale,
    "secret-missing": _empty, "config-edited": _edited,
    "image-not-built": _not_built, "build-options-differ": _build_options, "rebuilds-at-start": _rebuilds, "dev-mode": _dev,
    "option-removed": _removed, "provider-option-old-name": _old_name, "sessions-not-persistent": _not_persistent,
    "h2-in-use": _h2, "h2-leftovers": _h2_files,
}  # fmt: skip
