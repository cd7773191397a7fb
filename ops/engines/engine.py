"""What a feature needs of that which runs the containers, whichever engine that is.

Everything is named as a release names it: slots (`backend-1`), networks, volumes, secrets, images. What the engine calls it
(a container `cc03-backend-1`, a pod) stays with the engine; so does what is peculiar to it, such as a monitor that has died.

Files come out of a container and go into it by `exec` of cat or tar, with `source` and `target`. Databases are asked by
`ops.engines.postgres`. What looks at a Podman host itself, at processes, bridges and layers of images, is no engine's business:
the security audit's probes, and the health supervisor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict, Unpack

from ops.core.process import Result
from ops.core.state import State
from ops.stack.model import Container, Seen

if TYPE_CHECKING:
    import socket

    from ops.engines.podman.supervisor.health import Target

QUICK = 60.0
"""Seconds for what only asks or changes one small thing."""
REMOVING = 4 * 3600.0
"""Seconds to remove a volume, or the files in one: there may be hundreds of gigabytes on a slow disk."""
OVERDUE = 124
"""Exit code of a program whose lines are passed on and that did not end in time, as timeout(1) has it."""
LOST = "lost"
"""State of a container that the engine believes to run, and that has neither a process nor a monitor any more."""
Report = Callable[[str], None]


class Line(NamedTuple):
    """A line of a log. log: whose: a slot, or the source of `ops.core.files.log_line`. at: time, in RFC 3339."""

    log: str
    at: str
    text: str


@dataclass(frozen=True)
class Proof:
    """What a container has to do before it counts as good."""

    slot: str
    deadline: int = 120
    settle: int = 0
    """Seconds during which it must have been good without a break."""
    smoke: str = ""
    """Path that it must answer through the edge; empty where the edge has no way to it yet."""
    once: bool = False
    """Whether an end of its process fails the proof at once, instead of being left to the restart policy."""
    errors: Callable[[Iterable[Line], float], list[str]] = lambda lines, since: []
    """What a log calls an error from a time on; shown of one that logs so much that it is not in the end."""


class How(TypedDict, total=False):
    """How a program in a container is run.

    ok: exit codes that are no failure; None: all; without it, 0. timeout: seconds; without it, QUICK.
    stdin: text that it reads. source: file that it reads instead. target: file, made for its owner alone, that receives what it
    writes, byte for byte. log: file that receives all that it says. each: called with every line as it comes, from another
    thread; the result holds no output then, and its exit code is OVERDUE where it did not end in time.
    """

    ok: Sequence[int] | None
    timeout: float
    stdin: str
    source: Path
    target: Path
    log: Path
    each: Callable[[str], None]


@dataclass(frozen=True)
class OneOff:
    """A program of an image in a container of its own, without capabilities, which is removed when the program ends.

    name: of the container, which nothing else may have; one that a killed command has left is removed first. Without it, one is
    found. mounts: folder of this host -> path in it, with `:ro` behind it where nothing may be written. user: uid:gid.
    outside: whether it reaches other machines; else it has no network. hosts: name -> address.
    memory: its limit. fixed: whether it may write to its mounts and to /tmp and /run alone, which are in memory.
    reads_all: whether it may read every file, whoever that belongs to.
    """

    image: str
    argv: Sequence[str]
    name: str = ""
    mounts: Mapping[Path, str] = field(default_factory=dict)
    user: str = "0:0"
    outside: bool = False
    hosts: Mapping[str, str] = field(default_factory=dict)
    memory: str = "2g"
    fixed: bool = True
    reads_all: bool = False


@dataclass(frozen=True)
class Usage:
    """Memory in bytes, without what the kernel can reclaim at once; CPU in percent of one core."""

    memory_bytes: int
    cpu_percent: float


@dataclass(frozen=True)
class Network:
    """A network as it is. `containers`: ids of the running ones on it, of whatever project."""

    internal: bool
    containers: frozenset[str]


@dataclass(frozen=True)
class Trial:
    """A container as a deploy would create it, confined in the same way, apart from every project's networks and data.

    service: the compose mapping of one container in a release. address: on the network of trials; empty: any.
    hosts: name -> address, of what it reaches. volumes: its mounts, in place of those of the release.
    command: arguments of its entry point. detached: whether it runs on; else it is waited for and removed.
    """

    service: Mapping[str, Any]
    address: str
    hosts: Mapping[str, str]
    volumes: Sequence[str]
    command: Sequence[str] = ()
    detached: bool = True


class Engine(Protocol):
    """Runs the containers of one project. Whatever fails raises OpsError."""

    def for_trials(self, project: str, state: State) -> Engine:
        """The same engine for what trials make, under another name and with a scratch folder as its state."""

    def version(self) -> tuple[int, ...] | None:
        """Version of the engine; None where there is none that runs."""

    def registry_answers(self) -> bool:
        """Whether the public registry of images answers the engine, by whatever proxy that has."""

    # What is there.

    def observe(self, targets: Iterable[Target], images: Iterable[str] | None, *, with_health: bool) -> Seen:
        """What the engine knows of a project. targets: what health is asked of. images: as of `images`."""

    def slots(self) -> frozenset[str]:
        """Slots that have a container, whether it runs or not; those that wait for a place included."""

    def status(self, slot: str) -> tuple[str, int]:
        """State of a container (`running`, `exited`) and how often it was restarted by itself."""

    def containers(self) -> Mapping[str, Container]:
        """Slot -> its container, whether it runs or not; those that wait for a place included."""

    def reasons(self, targets: Iterable[Target], containers: Mapping[str, Container]) -> Mapping[str, str]:
        """Slot -> why it is not healthy, of those that are not. containers: as `containers` has found them."""

    def without(self, targets: Iterable[Target], containers: Mapping[str, Container]) -> Mapping[str, str]:
        """Slot -> which dependencies it says that it does without, of those that do."""

    def usage(self, containers: Mapping[str, Container]) -> Mapping[str, Usage]:
        """Slot -> what it uses now, of those that run."""

    def connect(self, slot: str, port: int, timeout: float, address: str = "127.0.0.1") -> socket.socket:
        """A connection from within a container's network, by default to its own loopback. Raises OSError."""

    def listen(self, slot: str, address: str, port: int) -> socket.socket:
        """A socket for connections that arrive in a container's network, at an address of its own. Raises OSError."""

    def subnets(self) -> Sequence[str]:
        """Those of every network that the engine has, of whatever project."""

    def networks(self, names: Iterable[str]) -> Mapping[str, Network]:
        """Name -> these networks of the project."""

    def volumes(self) -> Mapping[str, Path | None]:
        """Volume -> its folder on this host; None where the engine keeps it elsewhere."""

    def secrets(self) -> frozenset[str]:
        """Names of the secrets that the engine keeps, of whatever project."""

    def storage(self) -> Path:
        """Folder of this host in which the engine keeps secrets, and what it needs of each container."""

    def published_ports(self) -> Mapping[int, str]:
        """Port of this host -> the project that a running container publishes it for."""

    def used_images(self) -> frozenset[str]:
        """Tags that containers were created from, of whatever project."""

    # Containers.

    def create(self, name: str, part: Mapping[str, Any], slots: Sequence[str]) -> None:
        """Create containers, and start none.

        name: what it is for, in logs. part: the services of the release's compose file. slots: whose containers must exist
        afterwards.
        """

    def promote(self, slot: str) -> None:
        """Give the container that was created beside a slot that slot, which has become free."""

    def start(self, slot: str) -> None: ...

    def restart(self, slot: str, grace: int) -> None: ...

    def stop(self, slot: str, grace: int) -> None:
        """grace: seconds after which it is killed."""

    def remove(self, slot: str, grace: int = 0) -> None:
        """Stop and remove it, whatever state it is in. Volumes stay."""

    def discard(self, slots: Sequence[str]) -> None:
        """Remove containers at once where they exist; nobody uses them."""

    def rename(self, slot: str, other: str) -> None: ...

    def pause(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None: ...

    def resume(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None:
        """Let a paused container go on. ok: as of `exec`."""

    def exec(self, slot: str, argv: Sequence[str], **how: Unpack[How]) -> Result:
        """Run a program in a container."""

    def run(self, one: OneOff, **how: Unpack[How]) -> Result:
        """Run a program in a container of its own."""

    def run_as(self, slot: str, service: Mapping[str, Any], argv: Sequence[str], **how: Unpack[How]) -> Result:
        """Run a program where a service's own container would stand: with its image, networks, names, secrets and mounts.

        slot: name of that one-off container; one that a killed command has left is removed first. service: the compose mapping
        of one container in a release.
        """

    def run_once(self, slot: str, timeout: float) -> Result:
        """Run a container that was created to its end, whatever its exit code, and remove it."""

    def open_trials(self) -> str:
        """Make an empty network without a way out for trials, and return its subnet. What earlier ones have left is removed."""

    def run_trial(self, slot: str, trial: Trial, **how: Unpack[How]) -> Result: ...

    def close_trials(self) -> None:
        """Remove everything that trials have made."""

    def prove(self, proof: Proof, target: Target, report: Report) -> None:
        """Wait until a container is good. Raises NeedsPerson once the deadline is over, or at once where it has ended."""

    def heals(self, slot: str, target: Target, patience: int) -> bool:
        """Whether a container becomes healthy by itself within so many seconds."""

    # Logs: of containers, while the engine keeps them also of removed ones, and what commands log beside them.

    def logs(self, wanted: Callable[[str], bool], most: int | None = None) -> Iterator[Line]:
        """Lines of the logs of these names, one log after the other.

        most: bytes that are read of the end of each.
        """

    def follow_logs(self, wanted: Callable[[str], bool]) -> Iterator[Line]:
        """Lines of these logs as they are written from now on, without end."""

    # What containers stand on.

    def create_network(self, name: str, subnet: str, *, internal: bool) -> None: ...

    def remove_network(self, name: str) -> None: ...

    def create_volume(self, name: str) -> None: ...

    def remove_volume(self, name: str) -> None: ...

    def store_secret(self, name: str, value: str) -> None:
        """Keep a secret for containers that mount it, in place of one of that name."""

    def remove_secret(self, name: str) -> None: ...

    def load_firewall(self, rules: str) -> None: ...

    def remove_firewall(self) -> None: ...

    # Images.

    def images(self, tags: Iterable[str] | None = None) -> Mapping[str, str]:
        """Tag -> id, of those of these images that new containers can be created from; None: of all of the stack's."""

    def image_sizes(self, tags: Iterable[str]) -> Mapping[str, int]:
        """Tag -> bytes, of those of these images that are there."""

    def inspect_image(self, reference: str) -> Mapping[str, Any] | None:
        """What the engine says of an image: its configuration (OCI), and its layers' places. None: there is none."""

    def image_history(self, reference: str) -> str:
        """What an image was built by, as JSON."""

    def offered(self, reference: str) -> bool:
        """Whether a registry offers an image, without fetching it."""

    def push_image(self, tag: str, reference: str) -> str:
        """Have a registry hold an image under a reference; the digest that it has there."""

    def save_images(self, tags: Sequence[str], archive: Path) -> None: ...

    def load_images(self, archive: Path) -> Sequence[str]:
        """Load an archive; the names of its images."""

    def remove_image(self, tag: str) -> bool:
        """Remove an image unless something uses it. Returns whether it has gone."""

    def obtain_base(self, suite: str, tag: str, report: Report) -> None:
        """Have the base image of a Debian suite."""

    def build_image(
        self, name: str, tag: str, context: Path, args: Mapping[str, str], deadline: int, report: Report, stage: str = ""
    ) -> None:
        """Build an image. stage: of its Containerfile, to stop at."""

    def fetch_image(self, name: str, tag: str, source: str) -> None: ...

    def build_warning(self) -> str:
        """What an operator has to know of how images were built last; empty: nothing."""

    def tag_image(self, image: str, tag: str) -> None: ...

    # Supervision.

    def supervise(self, sources: Mapping[str, str], content: Mapping[str, Any], version: str) -> None:
        """Have exactly one health supervisor run, with this code, on this list."""

    def supervised(self) -> str:
        """Version of the list that the running supervisor works from; empty when nothing is watched."""

    def end_supervision(self) -> None: ...
