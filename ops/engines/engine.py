"""What a feature needs of that which runs the containers, whichever engine that is.

Everything is named as a release names it: slots (`backend-1`), networks, volumes, secrets, images. What the engine calls it
(a container `cc03-backend-1`, a pod) stays with the engine; so does what is peculiar to it, such as a monitor that has died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ops.core.process import Result
from ops.stack.model import Seen

if TYPE_CHECKING:
    from ops.engines.podman.supervisor.health import Target

QUICK = 60.0
"""Seconds for what only asks or changes one small thing."""
Report = Callable[[str], None]


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


class Engine(Protocol):
    """Runs the containers of one project. Whatever fails raises OpsError."""

    # What is there.

    def observe(self, targets: Iterable[Target], *, with_health: bool = True) -> Seen: ...

    def slots(self) -> frozenset[str]:
        """Slots that have a container, whether it runs or not; those that wait for a place included."""

    def images(self) -> Mapping[str, str]:
        """Tag -> id of the images that new containers can be created from."""

    def status(self, slot: str) -> tuple[str, int]:
        """State of a container (`running`, `exited`) and how often it was restarted by itself."""

    # Containers.

    def create(self, name: str, part: Mapping[str, Any], slots: Sequence[str]) -> None:
        """Create containers, and start none.

        Parameters
        ----------
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

    def exec(
        self, slot: str, argv: Sequence[str], *, ok: Sequence[int] | None = (0,), timeout: float = QUICK,
        stdin: str | None = None,
    ) -> Result:  # fmt: skip
        """Run a program in a container. ok: exit codes that are no failure; None: all."""

    def run_once(self, slot: str, timeout: float) -> Result:
        """Run a container that was created to its end, whatever its exit code, and remove it."""

    def check(self, image: str, argv: Sequence[str], mounts: Mapping[Path, str], user: str, hosts: Mapping[str, str]) -> None:
        """Run a program of an image in a container of its own, without any network."""

    def prove(self, proof: Proof, target: Target, report: Report) -> None:
        """Wait until a container is good. Raises NeedsPerson once the deadline is over, or at once where it has ended."""

    def heals(self, slot: str, target: Target, patience: int) -> bool:
        """Whether a container becomes healthy by itself within so many seconds."""

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

    def obtain_base(self, suite: str, tag: str, report: Report) -> None:
        """Have the base image of a Debian suite."""

    def build_image(
        self, name: str, tag: str, context: Path, args: Mapping[str, str], deadline: int, report: Report
    ) -> None: ...

    def fetch_image(self, name: str, tag: str, source: str) -> None: ...

    def tag_image(self, image: str, tag: str) -> None: ...

    # Supervision.

    def supervise(self, sources: Mapping[str, str], content: Mapping[str, Any], version: str) -> None:
        """Have exactly one health supervisor run, with this code, on this list."""

    def end_supervision(self) -> None: ...
