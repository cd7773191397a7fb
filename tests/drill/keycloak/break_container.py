"""Ways to break the containers, what is mounted into them, and the way to Keycloak."""

from __future__ import annotations

import datetime as dt
import os
import signal
from pathlib import Path
from typing import Any

from ops.certificates import pki
from ops.certificates.authority import authority
from tests.drill.keycloak.breakage import (
    Act,
    Breakage,
    answers,
    at_once,
    down,
    fails_to_start,
    loops,
    mend,
    no_login,
    start,
    then,
)
from tests.drill.keycloak.hands import SLOT, Definition, Keycloak
from tests.drill.stack import kill

BURN = "end=$((SECONDS + 3)); while ((SECONDS < end)); do :; done; echo 'it cannot go on' >&2; exit 3"


def changed(**parts: Any) -> Act:
    def change(definition: Definition) -> None:
        definition.update(parts)

    return lambda keycloak: keycloak.remake(change)


def limits(memory: str = "2147483648", cpus: str = "2.0", **parts: Any) -> Act:
    return changed(deploy={"resources": {"limits": {"memory": memory, "cpus": cpus}}}, **parts)


def stop(slot: str) -> Act:
    def act(keycloak: Keycloak) -> None:
        keycloak.podman("stop", "--time", "20", keycloak.name(slot))

    return act


def removed(keycloak: Keycloak) -> None:
    keycloak._remade.add(SLOT)
    keycloak.remove(keycloak.name())


def lost(keycloak: Keycloak) -> None:
    """Its monitor and itself end at once, as in a power cut: nobody is left who would tell Podman."""
    state = keycloak.container()["State"]
    os.kill(int(state["ConmonPid"]), signal.SIGKILL)
    kill(int(state["Pid"]))


def no_nginx(keycloak: Keycloak) -> None:
    def change(definition: Definition) -> None:
        definition["extra_hosts"] = [one for one in definition["extra_hosts"] if not one.startswith("nginx:")]

    keycloak.remake(change)


def certificates(keycloak: Keycloak) -> Path:
    return keycloak.drill.project.state.certs / "nginx"


def renew(keycloak: Keycloak, began: dt.datetime, *names: str) -> None:
    """Put another certificate into nginx' folder, issued at that time for 90 days. nginx reads its file at each handshake.

    names: files that are written; cert.pem is for people, tls.pem is what nginx reads.
    """
    state, folder = keycloak.drill.project.state, certificates(keycloak)
    _, intermediate = authority(state, keycloak.drill.project.name)
    leaf = pki.issue(intermediate, "nginx", [keycloak.live.domain, "localhost", "127.0.0.1"], began)
    chain = leaf.certificate + intermediate.certificate
    for name, text in (("cert.pem", chain), ("key.pem", leaf.key), ("tls.pem", leaf.key + chain)):
        if name in names:
            keycloak.put(folder / name, text)


def expired(keycloak: Keycloak) -> None:
    renew(keycloak, dt.datetime.now(dt.UTC) - dt.timedelta(days=pki.LEAF_DAYS + 2), "cert.pem", "key.pem", "tls.pem")


def half_renewed(keycloak: Keycloak) -> None:
    """As a renewal that was killed half way."""
    renew(keycloak, dt.datetime.now(dt.UTC), "cert.pem")


def files_back(keycloak: Keycloak) -> None:
    """Without a restart: none of these files is Keycloak's."""
    for path, text in keycloak._texts.items():
        path.write_bytes(text)
    keycloak._texts.clear()


def secret_emptied(keycloak: Keycloak) -> None:
    """The file alone: the running container and PostgreSQL hold the value."""
    keycloak.put(keycloak.drill.project.state.secrets / "postgres-keycloak" / "1", "")


OLD_CHECK = {"test": ["CMD", "curl", "--fail", "http://localhost:8080/health"], "interval": "disable", "retries": 1}


def old_check(keycloak: Keycloak) -> None:
    """As in the compose file of an older version: the wrong port, and nothing to wait for."""
    changed(healthcheck={**OLD_CHECK, "test": ["CMD", "wget", "-qO-", "http://localhost:8080/health"]})(keycloak)


def unhealthy(keycloak: Keycloak) -> str:
    if problem := answers(keycloak):
        return problem
    keycloak.podman("healthcheck", "run", keycloak.name(), ok=None, timeout=30)
    health = keycloak.container()["State"].get("Health") or keycloak.container()["State"].get("Healthcheck") or {}
    return "" if health.get("Status") == "unhealthy" else f"Podman says {health.get('Status')}"


BREAKAGES = (
    Breakage("stopped-by-hand", "stopped", stop(SLOT), start(), suffers=down, unwatched=True),
    Breakage("removed", "container-missing", removed, mend, suffers=down, unwatched=True),
    Breakage("lost", "container-lost", lost, then(removed, mend), suffers=no_login, unwatched=True),
    Breakage(
        "heap-too-large", "heap-too-large",
        limits("500m", environment={"JAVA_TOOL_OPTIONS": "-Xmx3g -Xms600m -XX:+AlwaysPreTouch"}),
        suffers=fails_to_start, unwatched=True,
    ),
    Breakage("memory-too-small", "out-of-memory", limits("300m"), suffers=fails_to_start, unwatched=True),
    Breakage("health-check-wrong", "healthcheck-wrong", old_check, suffers=unhealthy),
    Breakage("crash-loop", "crash-loop", changed(entrypoint=["bash", "-c", BURN]), suffers=loops),
    Breakage("nginx-stopped", "nginx-down", stop("nginx"), start("nginx"), unwatched=True),
    Breakage("nginx-unknown", "proxy-name-unknown", no_nginx, suffers=fails_to_start),
    Breakage("certificate-expired", "certificate-untrusted", expired, files_back),
    Breakage("certificate-half-renewed", "certificate-stale", half_renewed, files_back, suffers=at_once),
    Breakage("secret-emptied", "secret-missing", secret_emptied, files_back, suffers=at_once),
)  # fmt: skip
