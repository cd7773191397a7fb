"""Section 3: secrets are where they belong, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.containers import declared
from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, HostFiles, Unread

OWNER_ONLY = 0o400


@control(
    "3.1",
    "Every container has exactly its own secrets",
    why="a secret more is another service's data in the same break-in",
    cure="inv deploy brings back what compose.yaml declares",
)
def own_secrets(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        for name in sorted(set(seen.secrets) - set(service.secrets)):
            yield Found(seen.slot, name, f"has the secret {name}, which is not declared")
        for name in sorted(set(service.secrets) - set(seen.secrets)):
            yield Found(seen.slot, name, f"lacks the secret {name}")


@control(
    "3.2",
    "A secret is readable by its service's user only",
    why="every process in the container could read it else",
    cure="inv deploy; secrets are written without a mode in compose.yaml",
)
def modes(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        for name, (uid, mode) in sorted(seen.secrets.items()):
            if (uid, mode) != (service.owner, OWNER_ONLY):
                yield Found(seen.slot, name, f"secret {name} belongs to uid {uid} with mode {mode:04o}")


@control(
    "3.3",
    "No secret shows in inspect, arguments, environment, logs, configuration or releases",
    why="those are read by many, kept for long and sent elsewhere",
    cure="take it out, then rotate it: it has been read",
    part="leaks",
)
def leaks(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.leaks, Unread):
        return
    for leak in facts.leaks:
        yield Found(leak.where, leak.secret, f"holds the value of {leak.secret}")


@control(
    "3.4",
    "Secrets and keys on the host are for root only",
    why="any account of the host could be every service",
    cure="chmod -R go= what is named",
    part="host",
)
def on_the_host(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for path, mode in sorted(facts.host.open_to_others.items()):
            yield Found(path, f"{mode:04o}", f"{path} has mode {mode:04o}")


@control(
    "3.5",
    "What the host hands to the backup holds no secret in the clear",
    why="whoever takes over the backup container would have every secret and key of the host",
    cure="inv backup writes it anew, encrypted; then rotate what is named: it could be read",
    part="host",
)
def handed(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for leak in facts.host.handed:
            yield Found("backup", f"{leak.where} {leak.secret}", f"{leak.where} holds {leak.secret} in the clear")
