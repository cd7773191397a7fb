"""What the stack is, what was seen of it, and what is to be done: plain frozen data, no behaviour that reaches a host."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LABEL_PROJECT = "cc03.project"
LABEL_SERVICE = "cc03.service"
LABEL_SLOT = "cc03.slot"
LABEL_HASH = "cc03.config-hash"
LABEL_TLS = "cc03.tls"
"""On a container that speaks TLS with its neighbours."""
EDGE = "nginx"
"""The one service through which users reach the others."""
MAX_REPLICAS = 8
DEFAULT_GRACE = 10
"""Seconds that Podman gives a container to stop, where nothing else is said."""
SURGE = "surge"
"""Suffix of the extra container of a replicated service while its others are replaced (Kubernetes' word for it)."""


def seconds(duration: object) -> int:
    """A compose duration such as `1m30s` or `30s` in whole seconds."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", str(duration))
    if not parts:
        return DEFAULT_GRACE
    return math.ceil(sum(int(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts))


CREDENTIALS = {
    "role": "PostgreSQL password of role {}", "pair": "PostgreSQL password of role {}", "redis": "Redis password of user {}",
    "client": "Keycloak secret of client {}", "user": "Keycloak password of administrator {}",
    "account": "Keycloak password of user {}", "signer": "signing key of the {}", "cipher": "encryption key of the {}",
}  # fmt: skip
"""Kind of account -> its credential."""


@dataclass(frozen=True)
class Account:
    """The account that a credential belongs to.

    kind: `role` or `pair` (two roles that versions take in turn) of PostgreSQL, `redis`, `client`, `user` or `account` of
    Keycloak, `signer` and `cipher` of the backup.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        """Its credential, in words: "the new PostgreSQL password of role app"."""
        return CREDENTIALS[self.kind].format(self.name)


@dataclass(frozen=True)
class Limits:
    """Ceilings of one container: memory in bytes, CPUs in cores."""

    memory_bytes: int
    cpus: float


@dataclass(frozen=True)
class Service:
    """One of the twelve services, or the holder of one's address, as compose.yaml declares it.

    `definition` is its compose mapping with every placeholder filled; the other fields are what plans decide by.
    """

    name: str
    definition: Mapping[str, Any]
    networks: tuple[str, ...]
    """Those of the service whose network it shares, where it shares one."""
    secrets: tuple[str, ...]
    volumes: tuple[str, ...]
    limits: Limits
    replicas: int = 1
    build: Path | None = None
    """Build context; None for an image that is taken as it is from a registry or a file."""
    owner: int = 0
    """The uid its main process runs as, and that its secrets and keys belong to."""
    shares: str | None = None
    """Service in whose network its containers stand, and whose address and published ports they have."""
    holds: str | None = None
    """Service that stands in its network: the other side of `shares`."""
    start_seconds: int = 120
    """How long a container of this service may take until healthy."""
    smoke: str | None = None
    """Path that is asked through nginx, of one container alone, before it counts as good."""
    has_config: bool = False
    has_tls: bool = False

    # The rest is what compose.yaml says below x-cc03, where compose_keys.py describes each. `health`:
    probe: str | None = None
    live: str | None = None
    socket: str | None = None
    # Commands, as argv:
    reload: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None
    reconnect: tuple[str, ...] | None = None
    queue_requests: tuple[str, ...] | None = None
    backup: tuple[str, ...] | None = None
    login_check: tuple[str, ...] = ()
    # `downtime`; this host measures the seconds:
    interrupts: str = ""
    stops_requests: bool = False
    gap_seconds: float = 0.0
    # Its place among the others:
    needs: tuple[str, ...] = ()
    stop_after: tuple[str, ...] = ()
    optional: str | None = None
    listen_network: str = ""
    # `migration`. Secret -> the `secret` and `account` that it finds in its place:
    migrate: tuple[str, ...] | None = None
    migrates_as: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Secrets. Of a pair of roles -> the environment variable that names the role of its version:
    api_secrets: tuple[str, ...] = ()
    late_secrets: tuple[str, ...] = ()
    credentials: Mapping[str, Account] = field(default_factory=dict)
    logins: Mapping[str, str] = field(default_factory=dict)
    # `tls`; `reload_roots` and `reload_certificate` are empty where it reads the files by itself:
    listens: Mapping[str, str] = field(default_factory=dict)
    reload_certificate: tuple[str, ...] = ()
    reload_roots: tuple[str, ...] = ()
    roots_at_start: bool = False
    key_owner: int | None = None
    public: int | None = None

    @property
    def grace(self) -> int:
        """Seconds that its programs have to end by themselves."""
        return seconds(self.definition.get("stop_grace_period", "10s"))

    @property
    def keep(self) -> bool:
        """Whether its container stays when only its image changes: that of a holder would take the service that shares its
        network with it, and has hardly a program to update."""
        return self.holds is not None

    @property
    def listens_on(self) -> tuple[str, ...]:
        """The networks on which its ports are open."""
        return (self.listen_network,) if self.listen_network else self.networks

    @property
    def behind_tls(self) -> bool:
        """Whether its neighbours speak TLS with it. Redis and PostgreSQL, whose health is asked otherwise, do not count here:
        the site goes on without the one, and the other has always spoken it."""
        return (self.probe or "").startswith("https:")

    @property
    def certificate_owner(self) -> int:
        """The uid that reads its key."""
        return self.owner if self.key_owner is None else self.key_owner

    @property
    def replicated(self) -> bool:
        """Whether several containers of it can serve side by side, so that one is replaced without anybody noticing."""
        return bool(self.definition.get("deploy", {}).get("replicas"))

    @property
    def rolls(self) -> bool:
        """Whether an extra container of it can serve while another is replaced: in its own place, or at the same address."""
        return self.replicated or self.shares is not None

    @property
    def surge_slot(self) -> str:
        """Name of the extra container that carries the load while another is replaced."""
        return f"{self.name}-{SURGE}"

    def slots(self) -> tuple[str, ...]:
        """Names of its containers within the project: `redis`, or `backend-1`, `backend-2`."""
        if not self.replicated:
            return (self.name,)
        return tuple(f"{self.name}-{index}" for index in range(1, self.replicas + 1))

    @property
    def mounts(self) -> tuple[str, ...]:
        """Secrets that its containers mount, its migration included."""
        return (*self.secrets, *(one["secret"] for one in self.migrates_as.values()))

    def reserved_slots(self) -> tuple[str, ...]:
        """Every slot that could ever be."""
        if not self.rolls:
            return (self.name,)
        slots = (f"{self.name}-{index}" for index in range(1, MAX_REPLICAS + 1)) if self.replicated else (self.name,)
        return (*slots, self.surge_slot)

    def addresses(self) -> tuple[str, ...]:
        """Names under which its neighbours reach it, from the start, so that scaling out changes nothing in them. A holder is
        reached under the name of the service that it holds the address for."""
        if self.holds:
            return ()
        return (self.name,) if self.shares else self.reserved_slots()

    def address_name(self, slot: str) -> str:
        """The name that the address of one of its containers belongs to."""
        return self.holds or (self.name if self.shares else slot)


def names_on_cluster(service: Service) -> tuple[str, ...]:
    """Under which nginx sends requests to a service there. Two names of the same pods: what a node that has just died does not
    answer is asked for once more."""
    return (f"{service.name}-1", f"{service.name}-2") if service.replicated else (service.name,)


@dataclass(frozen=True)
class Stack:
    """The whole of what is wanted, independent of any host."""

    project: str
    services: Mapping[str, Service]
    networks: Mapping[str, bool]
    """Network name -> internal (no way out)."""
    volumes: tuple[str, ...]
    secrets: tuple[str, ...]
    destinations: tuple[str, ...] = ()
    """`host:port` of the receivers that Alertmanager may connect to."""

    def service_of(self, slot: str) -> Service:
        for service in self.services.values():
            if slot in service.slots():
                return service
        raise KeyError(slot)

    def slots(self) -> tuple[str, ...]:
        return tuple(slot for service in self.services.values() for slot in service.slots())

    def together(self, name: str) -> tuple[str, ...]:
        """A service and what it cannot be changed without: the holder of its address, or whose address it holds."""
        service = self.services[name]
        return tuple(other for other in (service.shares, name, service.holds) if other)


@dataclass(frozen=True)
class Allocation:
    """Addresses and ports that this project holds on this host; chosen once, remembered in the state folder."""

    subnets: Mapping[str, str]
    hosts: Mapping[str, int]
    """Slot -> last part of its address, the same on each of its networks."""
    ports: Mapping[str, int]


@dataclass(frozen=True)
class Container:
    """One container as Podman describes it."""

    name: str
    slot: str
    state: str
    config_hash: str
    image: str
    health: str = ""
    restarts: int = 0
    started_at: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    running_seconds: float | None = None
    """How long its main process has been running; None when it does not run."""
    holder: str = ""
    """Slot in whose network it was created to stand; empty: it has its own."""
    networks: frozenset[str] = frozenset()
    """Names of the networks that it was made to stand on."""
    stranded: bool = False
    """Whether it runs in a network that its holder has no more: nobody reaches it until it is started again."""
    identity: str = ""
    image_identity: str = ""
    pid: int = 0
    """Number of its main process on this host; 0 where it has none."""
    user: str = ""
    """uid:gid that it was created to run with; empty: the image's."""
    addresses: frozenset[str] = frozenset()
    """Its addresses on the networks of the project."""
    mounts: frozenset[str] = frozenset()
    """Files and folders of this host that it was given."""
    said: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What the engine itself says of it: for that engine, and for what looks at that engine's host."""


@dataclass(frozen=True)
class Seen:
    """Everything that was read from the host before a decision."""

    containers: Mapping[str, Container] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    podman_secrets: frozenset[str] = frozenset()
    handed: frozenset[str] = frozenset()
    """Secrets, named as Podman's would be, that containers are given as files: all, where they are encrypted at rest."""
    secret_versions: Mapping[str, int] = field(default_factory=dict)
    """Secret name -> newest version in the state folder; a name that is absent has never been generated."""
    accepted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Secret -> versions that are surely valid at its verifier; absent where only the first was ever set."""
    owners: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Volume, or folder of the host -> ids that its files belong to."""
    config_current: Mapping[str, str] = field(default_factory=dict)
    """Service -> hash of the configuration that its containers see."""
    config_loaded: Mapping[str, str] = field(default_factory=dict)
    """Service -> hash of the configuration that its containers have taken up."""
    certificates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service -> names of its certificate, unless that is incomplete or due for renewal."""
    release: Mapping[str, Any] | None = None
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    """Slot -> why it is not healthy, for running containers only."""
    ticker: str = ""
    """Version of the health ticker that runs; empty when none does."""
    supervised: str = ""
    """Hash of the list that the ticker works from."""
    firewall: str = ""
    """Rules of the project's packet filter, where the kernel has them unchanged; `altered` where it has not; empty where none
    were ever loaded."""
    gaps: Mapping[str, float] = field(default_factory=dict)
    """Service -> seconds that its last replacement on this host took."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Optional service -> why its image cannot be had."""
    realm: Mapping[str, Any] | None = None
    """Keycloak's realm as it is, without secrets; empty where there is none, None where it could not be read."""

    @property
    def given(self) -> frozenset[str]:
        """Secrets that a container can be created with, one way or the other."""
        return self.podman_secrets | self.handed
