"""Reads of the host, side by side: what runs, what exists, what is healthy. Nothing here changes anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.errors import OpsError
from ops.engines.engine import Usage
from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host
from ops.engines.podman.supervise import supervisor_version
from ops.engines.podman.supervisor import firewall, health
from ops.engines.podman.supervisor.health import Target, assess, failure_of, state_of, stranded
from ops.engines.podman.supervisor.metrics import epoch
from ops.stack.model import LABEL_HASH, LABEL_PROJECT, Container, Seen
from ops.stack.render import container_name

LISTINGS, LISTING_PAUSE = 8, 0.3
UNKNOWN = "image not known"
"""How Podman says that there is no such image."""
CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.5


def of(project: str) -> str:
    """The label of what belongs to a project."""
    return f"{LABEL_PROJECT}={project}"


def inspected_containers(host: Host, label: str = "") -> dict[str, Mapping[str, Any]]:
    """Slot -> what `podman container inspect` says, for every container of this project.

    label: by which they are found; empty: that of the project.
    """
    listed = ("podman", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label or of(host.project)}")
    ids = _words(host, listed)
    if not ids:
        return {}
    # Another process may remove a container between the two calls; what is left is still true.
    answer = host.run(("podman", "container", "inspect", *ids), ok=(0, 125))
    found = json.loads(answer.stdout or "[]")
    # By its name, not by its label: a container that waits for the place of another one bears the label of that place.
    return {item["Name"].removeprefix(container_name(host.project, "")): item for item in found}


def holder_of(item: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The slot in whose network a container was created to stand; empty where it has its own."""
    identity = str(item["HostConfig"].get("NetworkMode", "")).partition("container:")[2]
    return next((slot for slot, other in found.items() if identity and other["Id"] == identity), "")


def container(slot: str, item: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Container:
    """`found`: slot -> what is known of every container of the project."""
    state, what = item["State"], state_of(item)
    holder = holder_of(item, found)
    health = (state.get("Health") or state.get("Healthcheck") or {}).get("Status", "")
    return Container(
        name=item["Name"], slot=slot, state=what, config_hash=item["Config"]["Labels"].get(LABEL_HASH, ""),
        image=item["ImageName"], health=health, restarts=int(item.get("RestartCount", 0)), started_at=str(state["StartedAt"]),
        exit_code=int(state.get("ExitCode", 0)), oom_killed=bool(state.get("OOMKilled")),
        running_seconds=time.time() - epoch(str(state["StartedAt"])) if what == "running" else None,
        holder=holder,
        networks=frozenset(item["NetworkSettings"].get("Networks") or {}),
        stranded=bool(holder) and what == "running" and stranded(item, found[holder]),
        identity=str(item["Id"]), image_identity=str(item.get("Image", "")), pid=int(state.get("Pid") or 0),
        user=str(item["Config"].get("User") or ""), addresses=_addresses(item),
        mounts=frozenset(str(mount.get("Source", "")) for mount in item.get("Mounts") or ()), said=item,
    )  # fmt: skip


def _addresses(item: Mapping[str, Any]) -> frozenset[str]:
    networks = item["NetworkSettings"].get("Networks") or {}
    return frozenset(str(network["IPAddress"]) for network in networks.values() if network.get("IPAddress"))


def containers(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Container]:
    """Slot -> its container, of what Podman says of all of them."""
    return {slot: container(slot, item, found) for slot, item in found.items()}


def own_images(host: Host, tags: Iterable[str] | None = None) -> dict[str, str]:
    """Tag -> image id, of those of these that are on this host; None: of every image of a stack."""
    if tags is None:
        return _all_images(host)
    return {tag: identity for tag, (identity, _) in identified(host, tags).items()}


def identified(host: Host, tags: Iterable[str]) -> dict[str, tuple[str, int]]:
    wanted = sorted(set(tags))
    if not wanted:
        return {}
    answer = host.run(podman.identify_images(wanted), ok=(0, 125))
    # It goes on after one that is not there, and says so of each.
    problems = [line for line in answer.stderr.splitlines() if UNKNOWN not in line]
    if answer.returncode and problems:
        raise OpsError("Podman cannot say which images are there", problems[-1], "inv doctor")
    found = (line.split() for line in answer.stdout.splitlines())
    return {tag: (identity, int(size)) for identity, size, *tagged in found for tag in tagged if tag in wanted}


def _all_images(host: Host) -> dict[str, str]:
    # The listing fails whenever a build that runs beside it removes an intermediate image; one of the next is whole.
    for _ in range(LISTINGS):
        answer = host.run(podman.list_images(), ok=(0, 125))
        if answer.returncode == 0:
            break
        time.sleep(LISTING_PAUSE)
    else:
        answer = host.run(podman.list_images())
    rows = (line.split(" ", 1) for line in answer.stdout.splitlines())
    return {tag: identity for identity, tag in rows}


def run_healthcheck(host: Host) -> Callable[[str], str]:
    """A function that runs a container's own health check and returns why it failed, or nothing."""

    def check(name: str) -> str:
        answer = host.run(("podman", "healthcheck", "run", name), ok=None)
        if answer.returncode == 0:
            return ""
        inspected = host.run(("podman", "container", "inspect", name), ok=None)
        said = failure_of(json.loads(inspected.stdout)[0]) if inspected.returncode == 0 else ""
        return f"its health check fails: {said or answer.last_words(1)}"

    return check


def reasons(host: Host, targets: Iterable[Target], found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Slot -> why it is not healthy, asked of every target at once."""
    check = run_healthcheck(host)
    watched = list(targets)
    by_name = {str(item["Name"]): item for item in found.values()}

    def ask(target: Target) -> str:
        return assess(target, found.get(target.slot), check, by_name.get(target.holder))

    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = pool.map(ask, watched)
        return {target.slot: reason for target, reason in zip(watched, answers, strict=True) if reason}


def dependencies_down(targets: Iterable[Target], found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Slot -> which dependencies it says that it does without, asked of every running target at once."""
    running = [one for one in targets if one.slot in found and state_of(found[one.slot]) == "running"]
    with ThreadPoolExecutor(max_workers=16) as pool:
        said = pool.map(lambda one: health.dependencies_down(one, int(found[one.slot]["State"]["Pid"])), running)
        return {target.slot: what for target, what in zip(running, said, strict=True) if what}


def _words(host: Host, argv: podman.Argv) -> list[str]:
    return host.run(argv).stdout.split()


def mountpoints(host: Host) -> dict[str, Path]:
    """Volume of this project -> its folder on this host."""
    names = _words(host, ("podman", "volume", "ls", "--filter", f"label={of(host.project)}", "--format", "{{.Name}}"))
    # Another command may remove a volume between the two calls; what is left is still true.
    answer = host.run(("podman", "volume", "inspect", *names), ok=(0, 125)).stdout if names else ""
    return {one["Name"]: Path(one["Mountpoint"]) for one in json.loads(answer or "[]")}


def observe(host: Host, targets: Iterable[Target], images: Iterable[str] | None, *, with_health: bool) -> Seen:
    """What Podman and the kernel know of a project. Of the owners of a volume's files only that of its folder, which is changed
    last."""
    state = host.state
    with ThreadPoolExecutor(max_workers=5) as pool:
        inspected = pool.submit(inspected_containers, host)
        present = pool.submit(own_images, host, images)
        listed = ("podman", "network", "ls", "--filter", f"label={of(host.project)}", "--format", "{{.Name}}")
        networks = pool.submit(_words, host, listed)
        volumes = pool.submit(mountpoints, host)
        secrets = pool.submit(_words, host, ("podman", "secret", "ls", "--format", "{{.Name}}"))
        found = inspected.result()
        running = [t for t in targets if t.slot in found and state_of(found[t.slot]) == "running"]
        unhealthy = reasons(host, running, found) if with_health else {}
        supervised = files.read_json(state.ticker / "supervise.json") or {}
        return Seen(
            containers=containers(found), images=frozenset(present.result()), networks=frozenset(networks.result()),
            volumes=frozenset(volumes.result()), podman_secrets=frozenset(secrets.result()),
            owners={name: frozenset({path.stat().st_uid}) for name, path in volumes.result().items() if path.is_dir()},
            unhealthy=unhealthy, firewall=firewall.loaded(state.root), ticker=supervisor_version(state),
            supervised=str(supervised.get("version", "")),
        )  # fmt: skip


@dataclass(frozen=True)
class _Files:
    memory: Path
    memory_stat: Path
    reclaimable: str
    cpu: Path
    ticks_per_second: float


def _files(item: Mapping[str, Any]) -> _Files | None:
    """Where the kernel counts for this container; None while it does not run."""
    pid = int(item["State"].get("Pid") or 0)
    if not pid:
        return None
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    if "memory" in paths:
        memory = CGROUPS / "memory" / paths["memory"]
        return _Files(
            memory / "memory.usage_in_bytes", memory / "memory.stat", "total_inactive_file",
            CGROUPS / "cpuacct" / paths["cpuacct"] / "cpuacct.usage", 1e9,
        )  # fmt: skip
    unified = CGROUPS / paths.get("", "")
    return _Files(unified / "memory.current", unified / "memory.stat", "inactive_file", unified / "cpu.stat", 1e6)


def _memory(files: _Files) -> int:
    reclaimable = 0
    for line in files.memory_stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == files.reclaimable:
            reclaimable = int(value)
    return int(files.memory.read_text()) - reclaimable


def _cpu_seconds(files: _Files) -> float:
    text = files.cpu.read_text()
    value = text.split()[1] if text.startswith("usage_usec") else text
    return int(value) / files.ticks_per_second


def usage(inspected: Mapping[str, Mapping[str, Any]], seconds: float = SAMPLE_SECONDS) -> dict[str, Usage]:
    """Slot -> what it uses now. A container that does not run, or ends meanwhile, is left out.

    seconds: time between the two samples, over which the CPU is averaged.
    """
    sources = {slot: files for slot, item in inspected.items() if (files := _files(item))}
    first = {slot: sample for slot, files in sources.items() if (sample := _sample(files))}
    time.sleep(seconds)
    found = {}
    for slot, (began, before) in first.items():
        if after := _sample(sources[slot]):
            now, used = after
            try:
                found[slot] = Usage(_memory(sources[slot]), max(0.0, 100 * (used - before) / (now - began)))
            except OSError:
                continue
    return found


def _sample(files: _Files) -> tuple[float, float] | None:
    try:
        return time.monotonic(), _cpu_seconds(files)
    except OSError:
        return None
