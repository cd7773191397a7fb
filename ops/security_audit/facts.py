"""What an audit has seen of a running stack: plain frozen data, read from the kernel, from the wire and from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.security_audit.listeners import Listener
from ops.stack.accounts import Taken
from ops.stack.model import Stack

if TYPE_CHECKING:
    from ops.secrets.search import Leak


@dataclass(frozen=True)
class Unread:
    """A part that could not be looked at, and why. It counts as not checked, never as passed."""

    why: str


@dataclass(frozen=True)
class Process:
    """One process of a container, as /proc describes it.

    `capabilities`: every set of it together, as bits (capabilities(7)). `shares`: kinds of namespaces that it has in common
    with the host, or with a container other than the one whose network it may share.
    """

    name: str
    uids: frozenset[int]
    capabilities: int = 0
    no_new_privileges: bool = True
    seccomp: int = 2
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """One mount of a container. `source`: path of the host or name of a volume; empty for a file system in memory."""

    source: str
    target: str
    writable: bool
    options: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SeenContainer:
    """One container of the project that runs, as the kernel and Podman know it."""

    slot: str
    service: str
    """Empty for one that is not declared."""
    image: str
    processes: tuple[Process, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[str, ...] = ()
    """Device files other than those that every container has."""
    sockets: tuple[str, ...] = ()
    """Where something of the host is mounted that is a Unix socket, or has some below it."""
    written: tuple[str, ...] = ()
    """Paths of its root file system at which a file could be made, and files of the kernel that could be opened to write."""
    published: tuple[tuple[str, str, int], ...] = ()
    """(port of the container, address of the host, port of the host)."""
    networks: frozenset[str] = frozenset()
    gateways: tuple[str, ...] = ()
    """Where its default routes lead."""
    listens: frozenset[int] = frozenset()
    """TCP ports that are open to others than itself."""
    ipv6: tuple[str, ...] = ()
    """IPv6 addresses of its networks."""
    memory_bytes: int = 0
    cpus: float = 0.0
    pids: int = 0
    secrets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Mounted secret -> (uid, mode)."""
    unfiltered: tuple[str, ...] = ()
    """What its seccomp filter lets through, and should not (ops/stack/seccomp.py)."""


@dataclass(frozen=True, order=True)
class Way:
    """One connection that was tried: from a container to a port of another one at one of its addresses."""

    source: str
    target: str
    network: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}:{self.port} by {self.network} ({self.address})"


@dataclass(frozen=True)
class Reach:
    """Which connections between containers, and from enclosed ones to the host, came about."""

    tried: frozenset[Way]
    reached: frozenset[Way]
    outward: frozenset[Way] = frozenset()
    """Those to an address of the host that came about, from containers that need no way out."""


@dataclass(frozen=True, order=True)
class Asked:
    """One request of a container to a listener that serves declared clients only.

    `shows`: whether it showed its own certificate. `status`: what it was answered; 0 where the connection was refused.
    """

    client: str
    target: str
    port: int
    path: str
    shows: bool
    status: int

    @property
    def served(self) -> bool:
        return self.status not in (0, 400, 401, 403)


@dataclass(frozen=True)
class Handshakes:
    """How a listener negotiates. Days are counted from the audit; `problem`: why its certificate is not accepted."""

    protocols: frozenset[str] = frozenset()
    """Those of TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3 that it agreed to."""
    weak: frozenset[str] = frozenset()
    """Families of weak ciphers that it agreed to."""
    problem: str = ""
    key: str = ""
    """Type and size of the served key, such as `EC 256`."""
    signature: str = ""
    days_left: float = 0.0
    served_is_stored: bool | None = None
    """None: the certificate is stored nowhere on this host."""


@dataclass(frozen=True)
class Answer:
    """What a request was answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True)
class BurstSeen:
    """How a burst of requests was answered: how many got through within how many seconds, and whether one was refused."""

    through: int
    seconds: float
    refused: bool


@dataclass(frozen=True)
class Advisory:
    """A known weakness of an installed package that a newer version mends."""

    package: str
    identity: str
    fixed: str = ""


@dataclass(frozen=True)
class HostFiles:
    """Files and sockets of the host. `open_to_others`: path -> mode, where others than root may read what is secret."""

    open_to_others: Mapping[str, int] = field(default_factory=dict)
    entered: tuple[str, ...] = ()
    """The state folder and volumes, where others than root may enter them."""
    listens: frozenset[tuple[str, int]] = frozenset()
    """(address, port) that the project's container monitors listen on."""
    open_networks: frozenset[str] = frozenset()
    """Declared internal networks that are not internal."""
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> containers on it that are not of this project."""
    taken: tuple[Taken, ...] = ()
    """Accounts of the host that have an id of a container."""
    firewall: str = ""
    """Why the packet filter of the published network is not in force; empty where it is."""
    trail: tuple[str, ...] = ()
    """What is wrong with the audit trail."""
    handed: tuple[Leak, ...] = ()
    """What the backup container could read of the host's secrets."""


@dataclass(frozen=True)
class Facts:
    """All that was seen, beside what is declared."""

    stack: Stack
    compose: Mapping[str, Any]
    """compose.yaml as it stands in the checkout."""
    listeners: tuple[Listener, ...]
    ports: Mapping[str, int]
    """Published ports of this project: http, https, ops."""
    images: Mapping[str, str]
    """Service -> the image that it should run."""
    image_days: Mapping[str, float]
    """Service -> days since its image was built here."""
    site: str
    """Public address of the site."""
    containers: Mapping[str, SeenContainer]
    dependencies_down: Mapping[str, str]
    """Slot -> dependencies that it says that it works without."""
    owned: tuple[str, ...] | Unread
    """What PostgreSQL's role of the application owns, and of which owners it is a member."""
    reach: Reach | Unread
    asked: frozenset[Asked] | Unread
    """Requests of containers that are no clients of a listener, or that show no certificate."""
    handshakes: Mapping[Listener, Handshakes] | Unread
    answers: Mapping[str, Answer] | Unread
    bursts: Mapping[str, BurstSeen] | Unread
    realm: Mapping[str, Any] | Unread
    host: HostFiles | Unread
    leaks: tuple[Leak, ...] | Unread
    debian: Mapping[str, tuple[Advisory, ...]] | Unread
    """Service -> advisories for the packages of its image."""
    python: tuple[Advisory, ...] | Unread
    javascript: tuple[Advisory, ...] | Unread
