"""The facts that the audit's controls judge: observed in the kernel, on the wire and in files of a running stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.host.accounts import Taken
from ops.security_audit.listeners import Listener
from ops.stack.model import Stack

if TYPE_CHECKING:
    from ops.secrets.search import Leak


class Unread(Exception):
    """A part of the facts could not be read, for the reason given. Its controls are not checked, which does not mean passed."""


@dataclass(frozen=True)
class Process:
    """One process of a container, as /proc describes it.

    `capabilities`: the union of all its sets, as bits (capabilities(7)). `shares`: kinds of namespaces that it shares with the
    host, or with a container other than the one whose network it is declared to share.
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
class ContainerFacts:
    """One running container of the project, as the kernel and Podman describe it."""

    slot: str
    service: str
    """Empty for one that is not declared."""
    image: str
    processes: tuple[Process, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[str, ...] = ()
    """Device files beyond those of every container."""
    sockets: tuple[str, ...] = ()
    """Mounts of the host that are a Unix socket, or contain one."""
    writable: tuple[str, ...] = ()
    """Folders of its root file system in which a file can be created, and kernel files that can be opened for writing."""
    published: tuple[tuple[str, str, int], ...] = ()
    """(port of the container, address of the host, port of the host)."""
    networks: frozenset[str] = frozenset()
    gateways: tuple[str, ...] = ()
    """Gateways of its default routes."""
    listens: frozenset[int] = frozenset()
    """TCP ports that other containers can connect to."""
    ipv6: tuple[str, ...] = ()
    memory_bytes: int = 0
    cpus: float = 0.0
    pids: int = 0
    secrets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Mounted secret -> (uid, mode)."""
    unfiltered: tuple[str, ...] = ()
    """What its seccomp filter allows, and should not (ops/stack/seccomp.py)."""


@dataclass(frozen=True, order=True)
class Connection:
    """One connection between two containers, to a port of the target at one of its addresses."""

    source: str
    target: str
    network: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}:{self.port} by {self.network} ({self.address})"


@dataclass(frozen=True)
class Reach:
    """Which connections between containers were tried, and which succeeded."""

    tried: frozenset[Connection] = frozenset()
    reached: frozenset[Connection] = frozenset()
    outward: frozenset[Connection] = frozenset()
    """Successful connections to an address of the host, from containers on internal networks only."""


@dataclass(frozen=True, order=True)
class ClientRequest:
    """One request of a container to a listener that serves declared clients only.

    `shows`: whether it showed its own certificate. `status`: of the response; 0 where the connection was refused.
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
    """What a listener negotiates. `problem`: why clients refuse its certificate; `days_left`: from the audit to its end."""

    protocols: frozenset[str] = frozenset()
    """Accepted ones of TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3."""
    weak: frozenset[str] = frozenset()
    """Accepted families of weak ciphers."""
    problem: str = ""
    key: str = ""
    """Type and size of the key, such as `EC 256`."""
    signature: str = ""
    days_left: float = 0.0
    served_is_stored: bool | None = None
    """None: the certificate is not stored on this host."""


@dataclass(frozen=True)
class Answer:
    """The response to a request. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True)
class BurstResult:
    """The responses to a burst of requests: how many were answered within how many seconds, and whether one was refused."""

    through: int
    seconds: float
    refused: bool


@dataclass(frozen=True)
class Advisory:
    """A known vulnerability of an installed package. `fixed`: the versions that fix it."""

    package: str
    identity: str
    fixed: str = ""


@dataclass(frozen=True)
class HostFacts:
    """Files and sockets of the host. `open_to_others`: secret or key -> mode, where other accounts can read it."""

    open_to_others: Mapping[str, int] = field(default_factory=dict)
    open_folders: tuple[str, ...] = ()
    """The state folder and volumes that other accounts can enter."""
    listens: frozenset[tuple[str, int]] = frozenset()
    """(address, port) that the project's container monitors listen on."""
    open_networks: frozenset[str] = frozenset()
    """Declared internal networks that are not internal."""
    foreign_containers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> containers on it that do not belong to this project."""
    accounts: tuple[Taken, ...] = ()
    """Accounts of the host that have an id of a container."""
    firewall: str = ""
    """Why the packet filter of the published network is not in force; empty where it is."""
    audit_log: tuple[str, ...] = ()
    """What is wrong with the audit log."""
    archived: tuple[Leak, ...] = ()
    """Secrets of the host that the backup container can read."""


@dataclass(frozen=True)
class Facts:
    """All facts of an audit, and what is declared.

    The fields with a default are the parts that take time to read: `unread` names those that could not be read, and why.
    """

    stack: Stack
    compose: Mapping[str, Any]
    """compose.yaml of the checkout."""
    listeners: tuple[Listener, ...]
    ports: Mapping[str, int]
    """Published ports of this project: http, https, ops."""
    images: Mapping[str, str]
    """Service -> the image that it should run."""
    image_days: Mapping[str, float]
    """Service -> days since its image was built here."""
    site: str
    """Public address of the site."""
    containers: Mapping[str, ContainerFacts]
    dependencies_down: Mapping[str, str]
    """Slot -> dependencies that it reports as down, and works without."""
    unread: Mapping[str, str] = field(default_factory=dict)
    owned: tuple[str, ...] = ()
    """What PostgreSQL's role of the application owns, and of which roles it is a member."""
    reach: Reach = field(default_factory=Reach)
    client_requests: frozenset[ClientRequest] = frozenset()
    """Requests of containers that are not clients of a listener, or that show no certificate."""
    handshakes: Mapping[Listener, Handshakes] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    bursts: Mapping[str, BurstResult] = field(default_factory=dict)
    realm: Mapping[str, Any] = field(default_factory=dict)
    host: HostFacts = field(default_factory=HostFacts)
    leaks: tuple[Leak, ...] = ()
    debian: Mapping[str, tuple[Advisory, ...]] = field(default_factory=dict)
    """Service -> advisories for the packages of its image."""
    python: tuple[Advisory, ...] = ()
    javascript: Mapping[str, tuple[Advisory, ...]] = field(default_factory=dict)
    """Folder of the checkout -> advisories for the packages of its lock file."""
