"""The engine that the stack runs on: Podman, on this host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.core import state as files
from ops.core.errors import NeedsPerson, OpsError
from ops.core.process import Result, shown
from ops.engines.engine import QUICK, Proof, Report
from ops.engines.podman import argv as podman
from ops.engines.podman.create import create_calls
from ops.engines.podman.host import REMOVING, Host
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.dead_monitor import recover
from ops.engines.podman.supervisor.health import Target
from ops.engines.podman.supervisor.metrics import CONTAINERS, container_list
from ops.stack.model import EDGE, LABEL_PROJECT, Seen
from ops.stack.render import container_name, next_of


class PodmanEngine:
    """`ops.engines.engine.Engine`, for one project on this host."""

    def __init__(self, host: Host, project: str) -> None:
        self.host, self.project = host, project
        self.labels = {LABEL_PROJECT: project}
        self._guard = threading.Lock()

    def name(self, slot: str) -> str:
        return container_name(self.project, slot)

    def _recover(self, slot: str) -> None:
        recover(self.name(slot), lambda *arguments: self.host.run(("podman", *arguments), ok=None))

    def _list(self) -> None:
        """List what runs for cAdvisor: it is not healthy before it has measured something, and the supervisor begins last."""
        from ops.engines.podman.observe import inspected_containers

        with self._guard:
            found = inspected_containers(self.host).values()
            files.write(self.host.state.metrics / CONTAINERS, container_list(found))

    # What is there.

    def observe(self, targets: Iterable[Target], *, with_health: bool = True) -> Seen:
        from ops.engines.podman import observe

        return observe.observe(self.host, targets, with_health=with_health)

    def _names(self) -> frozenset[str]:
        return frozenset(self.host.run(podman.container_names(self.project)).stdout.split())

    def slots(self) -> frozenset[str]:
        return frozenset(name.removeprefix(self.name("")) for name in self._names())

    def images(self) -> Mapping[str, str]:
        from ops.engines.podman.observe import images

        return {tag: identity for tag, (identity, *_) in images(self.host).items()}

    def status(self, slot: str) -> tuple[str, int]:
        item = json.loads(self.host.run(podman.inspect_containers([self.name(slot)])).stdout)[0]
        return str(item["State"]["Status"]), int(item.get("RestartCount", 0))

    # Containers.

    def create(self, name: str, part: Mapping[str, Any], slots: Sequence[str]) -> None:
        calls = create_calls(self.host.state, self.project, name, part)
        answers = [self.host.run(argv, timeout=180, ok=None) for argv in calls]
        if missing := self._missing(slots):
            # A killed `create` can leave the name behind in the storage, where only `--storage` reaches it.
            for one in missing:
                self.host.run(podman.remove_leftover(one), ok=None)
            answers = [self.host.run(argv, ok=None, timeout=180) for argv in calls]
        # podman-compose exits 0 although a container could not be created, so only what exists counts.
        if missing := self._missing(slots):
            said = "; ".join(answer.last_words() for answer in answers)
            raise OpsError(f"cannot create {', '.join(missing)}", said, f"inv deploy --plan; {'; '.join(map(shown, calls))}")

    def _missing(self, slots: Sequence[str]) -> list[str]:
        there = self._names()
        return [name for name in map(self.name, slots) if name not in there]

    def promote(self, slot: str) -> None:
        self.rename(next_of(slot), slot)
        self._list()

    def start(self, slot: str) -> None:
        self._recover(slot)
        self.host.run(podman.start([self.name(slot)]), timeout=120)
        self._list()

    def restart(self, slot: str, grace: int) -> None:
        self._recover(slot)
        self.host.run(podman.restart(self.name(slot), grace), timeout=grace + 120)
        self._list()

    def stop(self, slot: str, grace: int) -> None:
        self._recover(slot)
        self.host.run(podman.stop(self.name(slot), grace), timeout=grace + 60)

    def remove(self, slot: str, grace: int = 0) -> None:
        self._recover(slot)
        self.host.run(podman.remove(self.name(slot), grace), timeout=grace + 120)

    def discard(self, slots: Sequence[str]) -> None:
        self.host.run(podman.remove_all([self.name(slot) for slot in slots]), timeout=120)

    def rename(self, slot: str, other: str) -> None:
        self.host.run(podman.rename(self.name(slot), self.name(other)))

    def pause(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None:
        self.host.run(podman.pause(self.name(slot)), ok=ok)

    def resume(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None:
        self.host.run(podman.unpause(self.name(slot)), ok=ok)

    def exec(
        self, slot: str, argv: Sequence[str], *, ok: Sequence[int] | None = (0,), timeout: float = QUICK,
        stdin: str | None = None,
    ) -> Result:  # fmt: skip
        command = podman.exec_in(self.name(slot), argv) if stdin is None else podman.exec_with_input(self.name(slot), argv)
        return self.host.run(command, ok=ok, timeout=timeout, stdin=stdin)

    def run_once(self, slot: str, timeout: float) -> Result:
        try:
            return self.host.run(podman.start_attached(self.name(slot)), timeout=timeout, ok=None)
        finally:
            self.host.run(podman.remove(self.name(slot)), ok=None)

    def check(self, image: str, argv: Sequence[str], mounts: Mapping[Path, str], user: str, hosts: Mapping[str, str]) -> None:
        self.host.run(podman.run_check(image, argv, mounts, user, hosts))

    def prove(self, proof: Proof, target: Target, report: Report) -> None:
        from ops.engines.podman import prove

        prove.prove(self.host, proof, target, self.name(EDGE), report)

    def heals(self, slot: str, target: Target, patience: int) -> bool:
        from ops.engines.podman import prove

        return prove.heals(self.host, slot, target, patience)

    # What containers stand on.

    def create_network(self, name: str, subnet: str, *, internal: bool) -> None:
        self.host.run(podman.network_create(name, subnet, internal=internal, labels=self.labels))

    def remove_network(self, name: str) -> None:
        # One of the project's own would have been removed before.
        if others := self.host.run(podman.attached_to(name)).stdout.split():
            raise NeedsPerson(
                f"cannot remove the network {name}", f"used by what is not this project's: {', '.join(others)}",
                f"podman rm --force {' '.join(others)}, if nobody needs it; then the same command again",
            )  # fmt: skip
        self.host.run(podman.network_remove(name))

    def create_volume(self, name: str) -> None:
        self.host.run(podman.volume_create(name, self.labels))

    def remove_volume(self, name: str) -> None:
        self.host.run(podman.volume_remove(name), timeout=REMOVING)

    def store_secret(self, name: str, value: str) -> None:
        # The state folder is the source of truth; a secret of this name that it did not know of was left by a lost one.
        self.host.run(podman.secret_remove(name), ok=None)
        self.host.run(podman.secret_create(name), stdin=value)

    def remove_secret(self, name: str) -> None:
        self.host.run(podman.secret_remove(name))

    def load_firewall(self, rules: str) -> None:
        firewall.load(self.host.state.root, rules)
        firewall.admit(self.host.state.root)

    def remove_firewall(self) -> None:
        firewall.remove(self.host.state.root)

    # Images.

    def obtain_base(self, suite: str, tag: str, report: Report) -> None:
        from ops.engines.podman import images

        images.obtain_base(self.host, suite, tag, report)

    def build_image(self, name: str, tag: str, context: Path, args: Mapping[str, str], deadline: int, report: Report) -> None:
        from ops.engines.podman import images

        images.build_image(self.host, name, tag, context, args, deadline, report)

    def fetch_image(self, name: str, tag: str, source: str) -> None:
        from ops.engines.podman import images

        images.fetch_image(self.host, name, tag, source)

    def tag_image(self, image: str, tag: str) -> None:
        self.host.run(podman.image_tag(image, tag))

    # Supervision.

    def supervise(self, sources: Mapping[str, str], content: Mapping[str, Any], version: str) -> None:
        from ops.engines.podman.supervise import start_supervisor

        start_supervisor(self.host.state, sources, content, version, self.host.environment)

    def end_supervision(self) -> None:
        from ops.engines.podman.supervise import end_supervision

        end_supervision(self.host.state)
