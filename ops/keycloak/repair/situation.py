"""What a repair is decided from: the diagnosis' facts, the release that should run, and how what runs differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ops.core.plan import Step
from ops.keycloak.failures.facts import OURS, Facts
from ops.stack.model import Seen
from ops.stack.wanted import Wanted, with_one_service

KEYCLOAK, POSTGRES, NGINX = "keycloak", "postgres", "nginx"


@dataclass(frozen=True)
class Situation:
    """drift: how Keycloak's container, image and configuration differ from the sealed release; empty: they are what it says."""

    facts: Facts
    seen: Seen
    wanted: Wanted | None
    """The current release; None where it is damaged, or there is none yet."""
    drift: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    """Services whose configuration folder no longer holds what was sealed."""
    retag: str = ""
    """Id of the sealed image, where its tag names another one now and the sealed one is still there."""
    older: Wanted | None = None
    """The newest earlier release that has served and whose Keycloak is another one."""
    older_number: int = 0
    next_number: int = 1


@dataclass(frozen=True)
class Repair:
    """One way to repair a finding. kind: another is tried where this one did not help."""

    finding: str
    kind: str
    title: str
    steps: tuple[Step, ...]
    notice: str
    undo: str
    """How it is undone, in words."""
    restarts: bool = False
    """Whether a Keycloak that serves is taken away for a while."""
    asks: str = ""
    """Why the operator has to agree first, whatever is served; empty: it is done unasked unless it interrupts logins."""

    @property
    def way(self) -> tuple[str, str]:
        return self.finding, self.kind

    def must_be_agreed(self, *, serving: bool) -> bool:
        return bool(self.asks) or (self.restarts and serving)


@dataclass(frozen=True)
class Instructions:
    """What a person has to do, since nothing may, or can, be done here."""

    finding: str
    lines: tuple[str, ...]


def is_keycloak(item: Mapping[str, Any]) -> bool:
    """Whether a container runs a Keycloak, by what `podman container inspect` says of its program, variables and image."""
    config = item["Config"]
    words = [
        *_words(config.get("Entrypoint")),
        *_words(config.get("Cmd")),
        *map(str, [item.get("Path", ""), *item.get("Args", [])]),
    ]
    program = any("keycloak" in word or word.endswith("kc.sh") for word in words)
    variables = any(line.startswith(("KC_DB", "KC_RUN_IN_CONTAINER", "KC_HOSTNAME")) for line in config.get("Env") or [])
    return program or variables or "keycloak" in str(item.get("ImageName", ""))


def drift_of(item: Mapping[str, Any], slot: Mapping[str, Any], image: Mapping[str, Any] | None) -> Iterator[str]:
    """How a container differs from its definition in a release, in an operator's words.

    item: what `podman container inspect` says. slot: the release's compose mapping. image: `podman image inspect` of the image
    that the release names; None where that is not on this host.
    """
    config, host = item["Config"], item["HostConfig"]
    if image is None or item["Image"] != image["Id"]:
        yield f"image {item['ImageName']}, not {slot['image']}"
    given = {name: str(value) for name, value in (slot.get("environment") or {}).items()}
    built = dict(_pairs(((image or {}).get("Config") or {}).get("Env") or []))
    present = dict(_pairs(config.get("Env") or []))
    for name in sorted({*given, *built, *present}):
        wanted = given.get(name, built.get(name))
        if name.startswith(OURS) and present.get(name) != wanted:
            yield f"variable {name} is {'set' if wanted is None else 'missing' if name not in present else 'another'}"
    if image is not None:
        yield from _command(config, slot, image.get("Config") or {})
    limits = slot["deploy"]["resources"]["limits"]
    if int(host.get("Memory") or 0) != int(limits["memory"]):
        yield f"memory limit of {int(host.get('Memory') or 0) >> 20} MB, not {int(limits['memory']) >> 20} MB"
    # podman-compose makes a shell command of a list of words.
    test, wanted_test = ((config.get("Healthcheck") or {}).get("Test")) or [], (slot.get("healthcheck") or {}).get("test", [])
    if test[1:] != wanted_test[1:]:
        yield f"health check {' '.join(test) or 'none'}"
    sources = {str(mount.get("Source")): str(mount.get("Destination")) for mount in item.get("Mounts") or []}
    for volume in slot.get("volumes") or []:
        source, _, rest = volume.partition(":")
        if source.startswith("/") and sources.get(source) != rest.partition(":")[0]:
            yield f"{source} is not mounted"


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition("=")
        yield name, value


def _words(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else list(value or [])


def _command(config: Mapping[str, Any], slot: Mapping[str, Any], image: Mapping[str, Any]) -> Iterator[str]:
    entry = _words(slot.get("entrypoint")) or _words(image.get("Entrypoint"))
    command = _words(slot.get("command")) or ([] if slot.get("entrypoint") else _words(image.get("Cmd")))
    if _words(config.get("Entrypoint")) != entry:
        yield "entry point is another"
    if _words(config.get("Cmd")) != command:
        yield f"command is {' '.join(_words(config.get('Cmd'))) or 'empty'}"


def with_older_keycloak(current: Wanted, older: Wanted) -> Wanted | None:
    """The current release with the Keycloak of an earlier one, to be sealed as a release of its own.

    None where that cannot be: the earlier one names other secrets, or its Keycloak is the same.
    """
    ours, theirs = (one.stack.services.get(KEYCLOAK) for one in (current, older))
    if ours is None or theirs is None or KEYCLOAK not in older.compose["services"]:
        return None
    if any(current.versions.get(name) != older.versions.get(name) for name in theirs.secrets):
        # An old password would be the next failure.
        return None
    if current.slot_hash(KEYCLOAK) == older.slot_hash(KEYCLOAK):
        return None
    mixed = with_one_service(older, current, KEYCLOAK)
    compose = {**current.compose, "services": mixed.compose["services"], "secrets": mixed.compose["secrets"]}
    return replace(
        mixed, compose=compose, allocation=current.allocation, supervise=current.supervise,
        supervise_version=current.supervise_version, settings=current.settings, number=None,
        stack=replace(current.stack, services={**current.stack.services, KEYCLOAK: theirs}),
    )  # fmt: skip


def grace_of(wanted: Wanted, service: str) -> int:
    return wanted.stack.services[service].grace
