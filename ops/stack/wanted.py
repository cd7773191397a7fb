"""The release that is to run: everything that a plan compares with what was seen, and its form on disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from ops.stack.firewall_rules import rules
from ops.stack.images import WantedImage
from ops.stack.model import EDGE, LABEL_HASH, LABEL_SERVICE, SURGE, Account, Allocation, Seen, Service, Stack
from ops.stack.render import ONE_OFFS, digest, environment, hash_of, migration_login, one_off, secret_name


@dataclass(frozen=True)
class Wanted:
    """Everything that makes up a release, from a checkout or from a sealed release of this host."""

    stack: Stack
    allocation: Allocation
    images: Mapping[str, WantedImage]
    compose: Mapping[str, Any]
    """The rendered file of the release."""
    config: Mapping[str, str]
    """Service -> hash of its mounted configuration."""
    versions: Mapping[str, int]
    """Secret -> version."""
    config_files: Mapping[str, Mapping[str, str]]
    """Service -> path -> text of what `config` is the hash of."""
    supervise: Mapping[str, Any]
    supervise_version: str
    build_deadline: int = 1200
    certificate_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What stack.yaml and `inv scale` say, key by key, for the record."""
    realm: str = ""
    """Declaration of Keycloak's realm; empty in a release from before there was one, which leaves the realm as it is."""
    violations: tuple[str, ...] = ()
    """Policies that the compose.yaml of this release violates."""
    number: int | None = None
    """Number of the sealed release that this was read from; None for a checkout."""

    def slot_hash(self, slot: str) -> str:
        return str(self.compose["services"][slot]["labels"][LABEL_HASH])

    @property
    def firewall(self) -> str:
        """The packet filter that its networks need on this host."""
        return rules(self.stack, self.allocation)

    def slots(self) -> tuple[str, ...]:
        """Containers that run while nothing is being changed."""
        return tuple(slot for slot in self.compose["services"] if not one_off(slot) and not slot.endswith(f"-{SURGE}"))


_STACK, _ALLOCATION, _IMAGES = TypeAdapter(Stack), TypeAdapter(Allocation), TypeAdapter(dict[str, WantedImage])


def pack(wanted: Wanted) -> dict[str, Any]:
    """What a release needs besides its compose file and its configuration, as JSON."""
    return {
        "stack": _STACK.dump_python(wanted.stack, mode="json"),
        "allocation": _ALLOCATION.dump_python(wanted.allocation, mode="json"),
        "images": _IMAGES.dump_python(dict(wanted.images), mode="json"),
        "versions": dict(wanted.versions),
        "supervise": dict(wanted.supervise),
        "certificate_names": {name: list(names) for name, names in wanted.certificate_names.items()},
        "settings": dict(wanted.settings),
        **({"violations": list(wanted.violations)} if wanted.violations else {}),
    }


def unpack(
    packed: Mapping[str, Any], compose: Mapping[str, Any], config_files: Mapping[str, Mapping[str, str]],
    ticker: Any, number: int, realm: str = "",
) -> Wanted:  # fmt: skip
    """The inverse of `pack`. `ticker`: sources of the health ticker that is to watch over it, which belong to no release.

    Fields that this version does not know are left out, and those that are missing get their defaults, so that releases of
    earlier and later versions can be read.
    """
    stack, supervise = packed["stack"], packed["supervise"]
    services = {name: _current(value) for name, value in stack["services"].items()}
    return Wanted(
        stack=_STACK.validate_python({**stack, "services": services}),
        allocation=_ALLOCATION.validate_python(packed["allocation"]),
        images=_IMAGES.validate_python(packed["images"]),
        compose=compose,
        config={name: digest(dict(files)) for name, files in config_files.items()},
        versions=packed["versions"], config_files=config_files,
        supervise=supervise, supervise_version=digest([supervise, ticker]),
        certificate_names={name: tuple(names) for name, names in packed["certificate_names"].items()},
        settings=packed["settings"], number=number, realm=realm, violations=tuple(packed.get("violations", ())),
    )  # fmt: skip


FORMER_NAMES = {
    "applies": "api_secrets", "outlives": "stop_after", "proves": "login_check", "hold": "queue_requests",
    "takes_up": "reload_certificate", "trusts": "reload_roots", "trusts_from_start": "roots_at_start",
    "binds": "listen_network",
}  # fmt: skip
"""Name of a field of Service in releases of earlier versions -> its name."""


def _current(value: Mapping[str, Any]) -> dict[str, Any]:
    """A sealed service in today's words."""
    found = {FORMER_NAMES.get(key, key): one for key, one in value.items()}
    if "hands" in found:
        found["credentials"] = {secret: Account(*to.split(" ", 1)) for secret, to in found["hands"].items()}
        found["stops_requests"] = found["interrupts"].partition(";")[0] == "everybody"
    return found


def with_versions(wanted: Wanted, versions: Mapping[str, int]) -> Wanted:
    """A release with other versions of its secrets; it is another release then, that has no number yet.

    versions: secret -> version. Secrets that the release does not know are left out.
    """
    changed = {name: version for name, version in versions.items() if wanted.versions.get(name, version) != version}
    if not changed:
        return wanted
    project = wanted.stack.project
    renamed = {secret_name(project, name, wanted.versions[name]): secret_name(project, name, changed[name]) for name in changed}

    def moved(slot: Mapping[str, Any]) -> dict[str, Any]:
        secrets = [{**one, "source": renamed.get(one["source"], one["source"])} for one in slot["secrets"]]
        service = wanted.stack.services[slot["labels"][LABEL_SERVICE]]
        fresh = {**slot, "secrets": secrets}
        if service.logins:
            fresh["environment"] = environment(service, {**wanted.versions, **changed})
        label = hash_of(service, project, fresh, wanted.config.get(service.name, ""))
        return {**fresh, "labels": {**slot["labels"], LABEL_HASH: label}}

    before = wanted.compose["services"]
    services = {slot: moved(definition) for slot, definition in before.items() if not one_off(slot)}
    for slot, definition in before.items():
        if one_off(slot):
            # A one-off container bears the hash of the service's first one.
            service = wanted.stack.services[definition["labels"][LABEL_SERVICE]]
            first = services[service.slots()[0]]
            labels = {**definition["labels"], LABEL_HASH: first["labels"][LABEL_HASH]}
            login = migration_login(service, first, project, {**wanted.versions, **changed})
            services[slot] = {**definition, **login, "labels": labels}
    used = {renamed.get(name, name): dict(entry) for name, entry in wanted.compose["secrets"].items()}
    return replace(
        wanted, versions={**wanted.versions, **changed}, number=None,
        compose={**wanted.compose, "services": {slot: services[slot] for slot in before}, "secrets": used},
    )  # fmt: skip


def with_one_service(wanted: Wanted, last: Wanted, only: str) -> Wanted:
    """The last release with one service as it is wanted now: nothing is claimed of what was neither built nor written.

    The holder of a service's address is a part of it.
    """
    changing = wanted.stack.together(only)

    def mixed(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in before.items() if name not in changing} | {
            name: now[name] for name in changing if name in now
        }

    services = [wanted.stack.services[name] for name in changing]
    own = {slot for one in services for slot in one.reserved_slots()} | {only + suffix for suffix in ONE_OFFS}
    slots = {
        **{slot: value for slot, value in last.compose["services"].items() if slot not in own},
        **{slot: value for slot, value in wanted.compose["services"].items() if slot in own},
    }
    stack = replace(wanted.stack, services=mixed(wanted.stack.services, last.stack.services))
    # The order of start is the checkout's.
    order = [*wanted.stack.services, *last.stack.services]
    stack = replace(stack, services={name: stack.services[name] for name in dict.fromkeys(order) if name in stack.services})
    return replace(
        wanted, stack=stack, images=mixed(wanted.images, last.images), config=mixed(wanted.config, last.config),
        config_files=mixed(wanted.config_files, last.config_files),
        versions={
            **last.versions, **{name: wanted.versions[name] for one in services for name in (*one.mounts, *one.api_secrets)}
        },
        realm=wanted.realm if "keycloak" in changing else last.realm,
        certificate_names=mixed(wanted.certificate_names, last.certificate_names),
        compose={**wanted.compose, "services": slots, "secrets": {**last.compose["secrets"], **wanted.compose["secrets"]}},
    )  # fmt: skip


def with_realm(wanted: Wanted, last: Wanted) -> Wanted:
    """The last release with the realm as it is declared now, and with the secrets that this takes."""
    keycloak, before = wanted.stack.services["keycloak"], last.stack.services["keycloak"]
    services = {**last.stack.services, "keycloak": replace(before, api_secrets=keycloak.api_secrets)}
    secrets = tuple(dict.fromkeys((*last.stack.secrets, *keycloak.api_secrets)))
    return replace(
        last, number=None, realm=wanted.realm, stack=replace(last.stack, services=services, secrets=secrets),
        versions={**last.versions, **{name: wanted.versions[name] for name in keycloak.api_secrets}},
    )  # fmt: skip


def unreached(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> frozenset[str]:
    """Slots whose wanted container shares no network with the nginx that runs. No proof through nginx can succeed there: these
    are replaced without one, and nginx follows in the same plan.

    services: those that the plan may change. Where nginx is not among them, none is left out: the proof fails and users keep
    what they have.
    """
    names = {service.name for service in services}
    holder = wanted.stack.services[EDGE].shares or EDGE
    present = seen.containers.get(holder)
    if holder not in names or present is None or not present.networks:
        return frozenset()
    return frozenset(
        slot for name in names if wanted.stack.services[name].smoke
        for slot in wanted.stack.services[name].slots()
        if slot in seen.containers and not present.networks & set(wanted.compose["services"][slot]["networks"])
    )  # fmt: skip
