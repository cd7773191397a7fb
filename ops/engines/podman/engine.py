"""The engine that the stack runs on: Podman, on this host."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from ops.core import files
from ops.core.errors import NeedsPerson, OpsError
from ops.core.process import Result, shown
from ops.core.state import State
from ops.engines.engine import REMOVING, How, Line, Network, OneOff, Proof, Report, Trial, Usage
from ops.engines.podman import argv as podman
from ops.engines.podman import logs, observe, prove, supervise
from ops.engines.podman.host import Host
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.health import Target, network_of, recover
from ops.engines.podman.supervisor.metrics import CONTAINERS, container_list
from ops.stack.model import EDGE, LABEL_PROJECT, Container, Seen
from ops.stack.render import by_oom_score, container_name, network_name, next_of

IMAGES_SECONDS = 1800.0
"""To save or load all images of a release: gigabytes."""
OFFER_SECONDS = 10.0


class PodmanEngine:
    """`ops.engines.engine.Engine`, for one project on this host."""

    def __init__(self, host: Host, project: str, label: str = "") -> None:
        """label: of its containers, by which they are found; empty: that of the project."""
        self.host, self.project = host, project
        self.label = label or f"{LABEL_PROJECT}={project}"
        self._guard = threading.Lock()
        self._pids: dict[str, int] = {}

    def for_trials(self, project: str, state: State) -> PodmanEngine:
        return PodmanEngine(replace(self.host, project=project, state=state), project, podman.LABEL_TRIAL)

    def name(self, slot: str) -> str:
        return container_name(self.project, slot)

    def _podman(self, *words: str, **how: Unpack[How]) -> Result:
        return self.host.run(("podman", *words), **how)

    def _words(self, *words: str) -> list[str]:
        return self._podman(*words).stdout.split()

    def _recover(self, slot: str) -> None:
        recover(self.name(slot), partial(self._podman, ok=None))

    def _list(self) -> None:
        """List what runs for cAdvisor: it is not healthy before it has measured something, and the supervisor begins last."""
        with self._guard:
            found = observe.inspected_containers(self.host).values()
            files.write(self.host.state.metrics / CONTAINERS, container_list(found))

    def version(self) -> tuple[int, ...] | None:
        try:
            answer = json.loads(self._podman("version", "--format", "json").stdout)
        except (OpsError, ValueError):
            return None
        return tuple(int(part) for part in answer["Client"]["Version"].split("-")[0].split("."))

    def registry_answers(self) -> bool:
        answer = self._podman("search", "--limit", "1", "docker.io/library/debian", timeout=20, ok=None)
        return answer.returncode == 0

    # What is there.

    def observe(self, targets: Iterable[Target], images: Iterable[str] | None, *, with_health: bool) -> Seen:
        return observe.observe(self.host, targets, images, with_health=with_health)

    def _names(self) -> frozenset[str]:
        return frozenset(self._words("ps", "--all", "--filter", f"label={self.label}", "--format", "{{.Names}}"))

    def slots(self) -> frozenset[str]:
        return frozenset(name.removeprefix(self.name("")) for name in self._names())

    def status(self, slot: str) -> tuple[str, int]:
        item = json.loads(self._podman("container", "inspect", self.name(slot)).stdout)[0]
        return str(item["State"]["Status"]), int(item.get("RestartCount", 0))

    def containers(self) -> Mapping[str, Container]:
        return observe.containers(observe.inspected_containers(self.host, self.label))

    def reasons(self, targets: Iterable[Target], containers: Mapping[str, Container]) -> Mapping[str, str]:
        return observe.reasons(self.host, targets, {slot: one.said for slot, one in containers.items()})

    def without(self, targets: Iterable[Target], containers: Mapping[str, Container]) -> Mapping[str, str]:
        return observe.dependencies_down(targets, {slot: one.said for slot, one in containers.items()})

    def usage(self, containers: Mapping[str, Container]) -> Mapping[str, Usage]:
        return observe.usage({slot: one.said for slot, one in containers.items()})

    def connect(self, slot: str, port: int, timeout: float, address: str = "127.0.0.1") -> socket.socket:
        with network_of(self._process(slot)):
            return socket.create_connection((address, port), timeout)

    def listen(self, slot: str, address: str, port: int) -> socket.socket:
        with network_of(self._process(slot)):
            return socket.create_server((address, port))

    def _process(self, slot: str) -> int:
        """The main process of a container. Raises OSError where it does not run."""
        pid = self._pids.get(slot, 0)
        if not pid or not Path(f"/proc/{pid}").exists():
            answer = self._podman("container", "inspect", self.name(slot), ok=None)
            pid = int(json.loads(answer.stdout)[0]["State"]["Pid"] or 0) if answer.returncode == 0 else 0
            self._pids[slot] = pid
        if not pid:
            raise ConnectionRefusedError(f"{slot} does not run")
        return pid

    def subnets(self) -> Sequence[str]:
        return self._words("network", "ls", "--format", "{{range .Subnets}}{{.Subnet}} {{end}}")

    def networks(self, names: Iterable[str]) -> Mapping[str, Network]:
        full = {name: network_name(self.project, name) for name in names}
        described = json.loads(self._podman("network", "inspect", *full.values()).stdout)
        return {
            name: Network(
                bool(one.get("internal")),
                frozenset(self._words("ps", "--quiet", "--no-trunc", "--filter", f"network={full[name]}")),
            )
            for name, one in zip(full, described, strict=True)
        }

    def volumes(self) -> Mapping[str, Path | None]:
        return observe.mountpoints(self.host)

    def secrets(self) -> frozenset[str]:
        return frozenset(self._words("secret", "ls", "--format", "{{.Name}}"))

    def storage(self) -> Path:
        return Path(self._podman("info", "--format", "{{.Store.GraphRoot}}").stdout.strip())

    def published_ports(self) -> Mapping[int, str]:
        answer = self._podman("ps", "--filter", f"label={LABEL_PROJECT}", "--format", "json", ok=None)
        found = json.loads(answer.stdout or "[]") if answer.returncode == 0 else []
        return {
            number: str(item["Labels"][LABEL_PROJECT])
            for item in found or () for port in item.get("Ports") or ()
            for number in range(int(port["host_port"]), int(port["host_port"]) + max(1, int(port.get("range") or 1)))
        }  # fmt: skip

    def used_images(self) -> frozenset[str]:
        return frozenset(self._words("ps", "--all", "--format", "{{.Image}}"))

    # Containers.

    def create(self, name: str, part: Mapping[str, Any], slots: Sequence[str]) -> None:
        calls = []
        # podman-compose reads no oom_score_adj, but takes one for all containers of a call.
        for score, some in by_oom_score(part):
            file = self.host.state.builds / f"{name.replace(' ', '-')}{'' if score is None else f'-oom-{score}'}.yaml"
            files.write(file, json.dumps(some, indent=1))
            calls.append(podman.compose_create(file, self.project, (), score))
        answers = [self.host.run(argv, timeout=180, ok=None) for argv in calls]
        if missing := self._missing(slots):
            # A killed `create` can leave the name behind in the storage, where only `--storage` reaches it.
            for one in missing:
                self._podman("rm", "--force", "--storage", one, ok=None)
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
        self._podman("start", self.name(slot), timeout=120)
        self._list()

    def restart(self, slot: str, grace: int) -> None:
        self._recover(slot)
        self._podman("restart", "--time", str(grace), self.name(slot), timeout=grace + 120)
        self._list()

    def stop(self, slot: str, grace: int) -> None:
        self._recover(slot)
        self._podman("stop", "--time", str(grace), self.name(slot), timeout=grace + 60)

    def remove(self, slot: str, grace: int = 0) -> None:
        self._recover(slot)
        self.host.run(podman.remove(self.name(slot), grace), timeout=grace + 120)

    def discard(self, slots: Sequence[str]) -> None:
        self.host.run(podman.remove_all([self.name(slot) for slot in slots]), timeout=120)

    def rename(self, slot: str, other: str) -> None:
        self._podman("rename", self.name(slot), self.name(other))

    def pause(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None:
        self._podman("pause", self.name(slot), ok=ok)

    def resume(self, slot: str, *, ok: Sequence[int] | None = (0,)) -> None:
        self._podman("unpause", self.name(slot), ok=ok)

    def exec(self, slot: str, argv: Sequence[str], **how: Unpack[How]) -> Result:
        reads = "stdin" in how or "source" in how
        return self.host.run((podman.exec_with_input if reads else podman.exec_in)(self.name(slot), argv), **how)

    def run(self, one: OneOff, **how: Unpack[How]) -> Result:
        if one.name:
            self.discard([one.name])
        return self.host.run(podman.run_one_off(one, self.name(one.name) if one.name else "", reads="stdin" in how), **how)

    def run_as(self, slot: str, service: Mapping[str, Any], argv: Sequence[str], **how: Unpack[How]) -> Result:
        self.discard([slot])
        return self.host.run(podman.run_as(self.name(slot), service, argv), **how)

    def run_once(self, slot: str, timeout: float) -> Result:
        try:
            return self._podman("start", "--attach", self.name(slot), timeout=timeout, ok=None)
        finally:
            self.host.run(podman.remove(self.name(slot)), ok=None)

    def open_trials(self) -> str:
        self.close_trials()
        self._podman("network", "create", "--disable-dns", "--internal", "--label", podman.LABEL_TRIAL, self.project)
        return str(json.loads(self._podman("network", "inspect", self.project).stdout)[0]["subnets"][0]["subnet"])

    def run_trial(self, slot: str, trial: Trial, **how: Unpack[How]) -> Result:
        log = self.host.state.logs / f"{slot}.log"
        return self.host.run(podman.run_trial(self.name(slot), self.project, trial, log), **how)

    def close_trials(self) -> None:
        if left := self._names():
            self.host.run(podman.remove_all(sorted(left)), ok=None)
        for network in self._words("network", "ls", "--filter", f"label={podman.LABEL_TRIAL}", "--format", "{{.Name}}"):
            self._podman("network", "rm", network, ok=None)

    def prove(self, proof: Proof, target: Target, report: Report) -> None:
        prove.prove(self.host, proof, target, self.name(EDGE), report)

    def heals(self, slot: str, target: Target, patience: int) -> bool:
        return prove.heals(self.host, slot, target, patience)

    # What containers stand on.

    def logs(self, wanted: Callable[[str], bool], most: int | None = None) -> Iterator[Line]:
        return logs.read(self.host.state.logs, wanted, most)

    def follow_logs(self, wanted: Callable[[str], bool]) -> Iterator[Line]:
        return logs.follow(self.host.state.logs, wanted)

    def create_network(self, name: str, subnet: str, *, internal: bool) -> None:
        self.host.run(podman.network_create(name, subnet, self.label, internal=internal))

    def remove_network(self, name: str) -> None:
        # One of the project's own would have been removed before.
        if others := self._words("ps", "--all", "--format", "{{.Names}}", "--filter", f"network={name}"):
            raise NeedsPerson(
                f"cannot remove the network {name}", f"used by what is not this project's: {', '.join(others)}",
                f"podman rm --force {' '.join(others)}, if nobody needs it; then the same command again",
            )  # fmt: skip
        self._podman("network", "rm", name)

    def create_volume(self, name: str) -> None:
        self._podman("volume", "create", "--label", self.label, name)

    def remove_volume(self, name: str) -> None:
        self._podman("volume", "rm", name, timeout=REMOVING)

    def store_secret(self, name: str, value: str) -> None:
        # The state folder is the source of truth; a secret of this name that it did not know of was left by a lost one.
        self._podman("secret", "rm", name, ok=None)
        # An argument would show in the process list.
        self._podman("secret", "create", name, "-", stdin=value)

    def remove_secret(self, name: str) -> None:
        self._podman("secret", "rm", name)

    def load_firewall(self, rules: str) -> None:
        firewall.load(self.host.state.root, rules)
        firewall.admit(self.host.state.root)

    def remove_firewall(self) -> None:
        firewall.remove(self.host.state.root)

    # Images.

    def images(self, tags: Iterable[str] | None = None) -> Mapping[str, str]:
        return observe.own_images(self.host, tags)

    def image_sizes(self, tags: Iterable[str]) -> Mapping[str, int]:
        return {tag: size for tag, (_, size) in observe.identified(self.host, tags).items()}

    def inspect_image(self, reference: str) -> Mapping[str, Any] | None:
        answer = self._podman("image", "inspect", reference, ok=None)
        return dict(json.loads(answer.stdout)[0]) if answer.returncode == 0 else None

    def image_history(self, reference: str) -> str:
        return self._podman("history", "--no-trunc", "--format", "json", reference, ok=None).stdout

    def offered(self, reference: str) -> bool:
        try:
            return self._podman("manifest", "inspect", f"docker://{reference}", timeout=OFFER_SECONDS, ok=None).returncode == 0
        except OpsError:
            return False

    def push_image(self, tag: str, reference: str) -> str:
        with TemporaryDirectory() as folder:
            said = Path(folder) / "digest"
            self._podman("push", "--digestfile", str(said), tag, f"docker://{reference}", timeout=IMAGES_SECONDS)
            return said.read_text(encoding="utf-8").strip()

    def save_images(self, tags: Sequence[str], archive: Path) -> None:
        self._podman("save", "--multi-image-archive", "--output", str(archive), *tags, timeout=IMAGES_SECONDS)

    def load_images(self, archive: Path) -> Sequence[str]:
        said = self._podman("load", "--quiet", "--input", str(archive), timeout=IMAGES_SECONDS).stdout
        return [line.partition(": ")[2].strip() for line in said.splitlines() if line.startswith("Loaded image")]

    def remove_image(self, tag: str) -> bool:
        return self._podman("rmi", tag, ok=None, timeout=300).returncode == 0

    def obtain_base(self, suite: str, tag: str, report: Report) -> None:
        from ops.engines.podman import images

        images.obtain_base(self.host, suite, tag, report)

    def build_image(
        self, name: str, tag: str, context: Path, args: Mapping[str, str], deadline: int, report: Report, stage: str = ""
    ) -> None:  # fmt: skip
        from ops.engines.podman import images

        images.build_image(self.host, name, tag, context, args, deadline, report, stage)

    def fetch_image(self, name: str, tag: str, source: str) -> None:
        from ops.engines.podman import images

        images.fetch_image(self.host, name, tag, source)

    def build_warning(self) -> str:
        from ops.engines.podman.images import warning

        return warning(self.host.state)

    def tag_image(self, image: str, tag: str) -> None:
        self._podman("tag", image, tag)

    # Supervision.

    def supervise(self, sources: Mapping[str, str], content: Mapping[str, Any], version: str) -> None:
        supervise.start_supervisor(self.host.state, sources, content, version, self.host.environment)

    def supervised(self) -> str:
        return supervise.supervisor_version(self.host.state)

    def end_supervision(self) -> None:
        supervise.end_supervision(self.host.state)
