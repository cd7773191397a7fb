"""Failures of the container: Keycloak does not start, or runs badly."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import NOT_STARTED, RECREATES, SECRETS_AND_DATA, Remedy, Way, by_hand, comes_up, released

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


def _empty(facts: Facts) -> str:
    names = facts.container.empty_secrets
    return f"the state folder holds no value of {', '.join(names)}" if names else ""


FAILURES = (
    Failure(
        "container-missing", DOWN, "there is no Keycloak container", "it was removed, or never deployed", source="own",
        shown=lambda facts: "Podman knows no container of it" if facts.container.status == "missing" else "",
        remedy=released(ways=(Way.RECREATE,), advice=comes_up("keycloak")),
        explains=NOT_STARTED,
    ),
    Failure(
        "container-lost", DOWN, "its process has ended, and Podman does not know",
        "a power cut, or its monitor was killed with it",
        source="own (docs/explanation/health.md)", shown=_lost,
        remedy=released(first="clear Podman's state of it", ways=(Way.RECREATE,), advice=comes_up("keycloak")),
        explains=NOT_STARTED,
    ),
    Failure(
        "heap-too-large", RISK, "the heap does not fit into the container's memory",
        "metaspace, code, threads and buffers need about 300 MB beside it: the kernel kills Keycloak under load",
        source="#45459; memory guide", shown=_heap,
        lines=(Line(
            r"insufficient memory for the Java Runtime Environment|Native memory allocation \(\w+\) failed|os::commit_memory\(",
            "#45459", also_quiet=True,
        ),),
        remedy=released(checkout="65 % of the limit in compose/keycloak/jvm.options"),
        explains=("out-of-memory", "memory-near-limit", "jvm-option", *NOT_STARTED),
    ),
    Failure(
        "out-of-memory", DOWN, "the kernel killed it for lack of memory",
        "heap and the rest together went over the container's limit", source="#36609", shown=_killed,
        remedy=released(then="if it comes again: raise the memory of keycloak in config/stack.yaml", ways=RECREATES),
        explains=("memory-near-limit", *NOT_STARTED),
    ),
    Failure(
        "heap-exhausted", DOWN, "Java ran out of heap", "too many sessions, or an answer too large, for the heap that it has",
        source="#45459", lines=(Line(r"java\.lang\.OutOfMemoryError|Terminating due to java", "#45459", also_quiet=True),),
        remedy=released(then="if it comes again: raise the memory of keycloak in config/stack.yaml", ways=RECREATES),
        explains=("memory-near-limit", *NOT_STARTED),
    ),
    Failure(
        "memory-near-limit", RISK, "its memory is nearly used up", "at the limit the kernel kills it", source="memory guide",
        shown=_memory,
        remedy=by_hand(
            "raise resources.keycloak.memory in config/stack.yaml (2 GB serve a small production), then inv deploy",
            leaves=SECRETS_AND_DATA,
        ),
        explains=("event-loop-blocked",),
    ),
    Failure(
        "cpu-throttled", DEGRADED, "it is held back by its CPU limit",
        "password hashing takes most of a CPU: one vCPU serves about 15 logins a second", source="sizing guide",
        shown=_throttled, momentary=True,
        remedy=by_hand("raise resources.keycloak.cpus in config/stack.yaml, then inv deploy", leaves=SECRETS_AND_DATA),
        explains=("event-loop-blocked",),
    ),
    Failure(
        "crash-loop", DOWN, "it starts and fails, again and again, for a reason that is unknown here",
        "each attempt takes a whole CPU; no fact and no line of the log fits a known cause: what it says is quoted above",
        source="own", shown=_loop,
        remedy=released(
            then="if it fails as well: inv logs keycloak", ways=RECREATES, users="logins stop until the cause is repaired",
            advice=comes_up("keycloak"),
        ),
        explains=("exited", "not-ready", "edge-fails", "healthcheck-wrong", "cpu-throttled"),
    ),
    Failure(
        "stopped", DOWN, "it was stopped", "it ended in an orderly way: somebody, or the host, stopped it", source="own",
        shown=_stopped,
        remedy=Remedy(
            "start it", (Way.START, Way.RECREATE), users="logins are back after about 20 s", advice=comes_up("keycloak"),
        ),
        explains=NOT_STARTED,
    ),
    Failure(
        "exited", DOWN, "it ended with an error that is unknown here",
        "no fact and no line of the log fits a known cause: what it said is quoted above", source="own", shown=_exited,
        remedy=released(ways=RECREATES, users="logins are back after about 20 s", advice=comes_up("keycloak")),
        explains=("not-ready", "edge-fails"),
    ),
    Failure(
        "not-ready", DOWN, "it runs and is not ready", "its start takes longer than it may, or it is stuck",
        source="health guide", shown=_not_ready, momentary=True,
        remedy=released(then="a migration of its own is never broken off", ways=RECREATES, advice=comes_up("keycloak")),
        explains=("edge-fails", "healthcheck-wrong"),
    ),
    Failure(
        "healthcheck-wrong", DEGRADED, "Podman calls it unhealthy though it serves",
        "the check asks the wrong port or scheme, or a program that the image lacks", source="health guide",
        shown=_healthcheck, momentary=True,
        remedy=released(checkout="compose/keycloak/healthy asks /health/ready on port 9000", ways=RECREATES),
    ),
    Failure(
        "management-plain", DEGRADED, "port 9000 speaks plain HTTP",
        "the management port does not take over the certificate of the main one, so health checks over TLS fail",
        source="management interface guide",
        shown=lambda facts: "TLS was refused on port 9000, plain HTTP was not" if facts.edge.management_plain else "",
        remedy=released(sealed="http-management-scheme=inherited, which is the default"),
        explains=("not-ready", "healthcheck-wrong"),
    ),
    Failure(
        "secret-missing", DOWN, "a secret cannot be read",
        "it is not mounted, lost from the state folder, or holds what cannot stand in a configuration file",
        source="compose/keycloak/entrypoint.sh", shown=_empty,
        lines=(Line(r"needs the secret [a-z-]+, and|the secret [a-z-]+ is empty or holds", "compose/keycloak/entrypoint.sh"),),
        remedy=released(
            first="restore a lost one from a container that still holds it; give Podman the secrets again",
            ways=(Way.RESCUE_SECRET, Way.RECREATE_WITH_SECRETS, Way.EARLIER), leaves="the value of every secret that there is",
        ),
        explains=("secret-stale", "password-drift", *NOT_STARTED),
    ),
    Failure(
        "secret-stale", RISK, "it runs with an older secret",
        "a secret was replaced after its container was made: its next new connection may be refused", source="own",
        shown=lambda facts: ", ".join(facts.container.stale_secrets) if facts.running else "",
        remedy=released(
            first="give Podman the secrets of the state folder again", ways=(Way.RECREATE_WITH_SECRETS, Way.EARLIER),
            leaves="the value of every secret",
        ),
        explains=NOT_STARTED,
    ),
    Failure(
        "port-taken", DOWN, "a port that it listens on is taken",
        "two of its ports have one number, or another process has it in the same network namespace",
        source="Quarkus 3.33; #32198",
        lines=(Line(
            r"Address already in use|ports?(?:\(s\))? already bound|seems to be in use by another process",
            "Quarkus 3.33; #32198",
        ),),
        remedy=released(sealed="8443 and 9000 in a network namespace of its own"), explains=NOT_STARTED,
    ),
    Failure(
        "proxy-name-unknown", DOWN, "the name nginx is unknown in its container",
        "the entry point trusts that address alone as a proxy, and finds none in /etc/hosts",
        source="compose/keycloak/entrypoint.sh",
        lines=(Line(r"the name nginx is unknown here", "compose/keycloak/entrypoint.sh"),),
        remedy=released(sealed="its /etc/hosts", ways=RECREATES), explains=NOT_STARTED,
    ),
)  # fmt: skip
