"""Containers as the kernel describes them: processes, namespaces, mounts, devices, sockets, and what can be written."""

from __future__ import annotations

import json
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from ops.engines.podman.supervisor.health import within
from ops.security_audit.facts import ContainerFacts, Mount, Process
from ops.security_audit.probe.connections import gateways, ipv6_addresses, listening
from ops.stack.seccomp import gaps

SETUP_SECONDS = 5.0
"""The runtime executes a health check within this time: only then is the process confined."""
KINDS = ("pid", "net", "ipc", "uts", "mnt")
"""Namespaces of each container. Rootful Podman creates no `user` namespace, and on cgroup v1 no `cgroup` namespace."""
SETS = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
STANDARD_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
"""Devices of every container, by the OCI runtime specification."""
FOLDERS = ("", "etc", "usr/local/bin", "var/lib", "root", "home")
KERNEL = ("proc/sys/kernel/core_pattern", "proc/sysrq-trigger", "sys/kernel/uevent_helper", "sys/power/state")
"""Files with which root in a container executes programs on the host, or stops it. They are opened, and not written."""
ENGINES_OWN = (
    "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/dev", "/proc", "/sys"
)  # fmt: skip
"""Podman's own mounts in every container."""
IN_MEMORY = ("tmpfs", "ramfs")
DEPTH, ENTRIES = 3, 4000
"""How far below a mount sockets are searched."""


# ---- Processes


def namespace(pid: int | str, kind: str) -> str:
    """Identity of a namespace of a process; empty where the process has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115  (not a path: pid:[4026531836])
    except OSError:
        return ""


def by_namespace() -> dict[str, list[int]]:
    """Processes of the host by their PID namespace."""
    found: dict[str, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (where := namespace(entry.name, "pid")):
            found[where].append(int(entry.name))
    return found


def pids_of(pid: int, everybody: Mapping[str, list[int]]) -> list[int]:
    """All processes of a container. In the host's own PID namespace only the main one can be identified."""
    where = namespace(pid, "pid")
    return [pid] if where == namespace("self", "pid") else everybody.get(where, [])


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status; empty where the process has ended."""
    deadline = time.monotonic() + SETUP_SECONDS
    while (found := _status(pid)).get("Name", "").startswith("runc:[") and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processes_of(slot: str, pids: Iterable[int], shared: Mapping[str, tuple[str, ...]]) -> Iterator[Process]:
    """shared: namespace -> those that must not share it: `the host`, or slots of containers."""
    for pid in pids:
        if found := status(pid):
            bits = 0
            for name in SETS:
                bits |= int(found[name], 16)
            others = ((kind, other) for kind in KINDS for other in shared.get(namespace(pid, kind), ()) if other != slot)
            yield Process(
                found["Name"], frozenset(map(int, found["Uid"].split())), capabilities=bits,
                no_new_privileges=found["NoNewPrivs"] == "1", seccomp=int(found["Seccomp"]),
                shares=tuple(f"{kind} of {other}" for kind, other in others),
            )  # fmt: skip


def namespaces(pids: Mapping[str, int], shares: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Namespace -> its owners: `the host`, and containers. shares: slot -> slot whose network it is declared to share."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        found[namespace("self", kind)].append("the host")
        for slot, pid in pids.items():
            if not (kind == "net" and (slot in shares or slot in shares.values())):
                found[namespace(pid, kind)].append(slot)
    found.pop("", None)
    return {where: tuple(slots) for where, slots in found.items()}


# ---- Files


class KernelMount(NamedTuple):
    """One line of /proc/PID/mountinfo: proc(5). `root`: path on its file system."""

    root: str
    target: str
    options: frozenset[str]
    kind: str


def mountinfo(pid: int) -> list[KernelMount]:
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        found.append(KernelMount(fields[3], fields[4], frozenset(fields[5].split(",")), after.split()[0]))
    return found


def below(path: str, tops: tuple[str, ...]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


def mounts_of(pid: int, item: Mapping[str, Any], uids: frozenset[int]) -> Iterator[Mount]:
    """The mounts that Podman was given, with the kernel's options, and any other mounts. uids: of the processes."""
    kernel = mountinfo(pid)
    options = {one.target: one.options for one in kernel}
    given = {one["Destination"]: one for one in item["Mounts"] if one["Type"] in ("bind", "volume")}
    for target, one in given.items():
        source = one["Name"] if one["Type"] == "volume" else one["Source"]
        opts = options.get(target, frozenset())
        # `:ro` makes the mount itself read-only, and not the mounts below it.
        writable = ("rw" in opts if opts else bool(one["RW"])) or any(
            inner.target.startswith(f"{target}/") and "rw" in inner.options
            and may_write(Path(f"/proc/{pid}/root"), inner.target, uids) for inner in kernel
        )  # fmt: skip
        yield Mount(source, target, writable, opts)
    for other in kernel:
        if other.target != "/" and not below(other.target, (*given, *ENGINES_OWN)):
            source = "" if other.kind in IN_MEMORY else other.root
            yield Mount(source, other.target, "rw" in other.options, other.options)


def may_write(root: Path, path: str, uids: frozenset[int]) -> bool:
    """Whether one of these users can write to a path below a root folder, by its owner and mode."""
    try:
        with within(root, path) as place:
            found = place.stat()
    except OSError:
        return False
    return 0 in uids or bool(found.st_mode & 0o002) or (found.st_uid in uids and bool(found.st_mode & 0o200))


def devices_of(pid: int) -> Iterator[str]:
    for path in sorted(Path(f"/proc/{pid}/root/dev").iterdir()):
        mode = path.lstat().st_mode
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and path.name not in STANDARD_DEVICES:
            yield f"/dev/{path.name}"


def holds_sockets(pid: int, mount: Mount) -> bool:
    """Whether a mount of the host is a Unix socket, or contains one."""
    top = Path(f"/proc/{pid}/root{mount.target}")
    if _is_socket(top):
        return True
    count = 0
    for folder, folders, names in os.walk(top):
        if len(Path(folder).relative_to(top).parts) >= DEPTH or count > ENTRIES:
            folders.clear()
        count += len(names)
        if any(_is_socket(Path(folder) / name) for name in names):
            return True
    return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def writable_below(root: Path, mounted: frozenset[str]) -> Iterator[str]:
    """Folders of a root file system in which a file can be created, and kernel files that can be opened for writing.

    mounted: mount points, which are file systems of their own.
    """
    for folder in FOLDERS:
        if f"/{folder}" in mounted:
            continue
        try:
            with within(root, folder) as place:
                attempt = place / f".cc03-audit-{token_hex(8)}"
                # O_EXCL: a link of that name, which the container could have created, is not followed.
                os.close(os.open(attempt, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                attempt.unlink(missing_ok=True)
        except OSError:
            continue
        yield f"/{folder}"
    for name in KERNEL:
        try:
            with within(root, name) as file:
                os.close(os.open(file, os.O_WRONLY))
        except OSError:
            continue
        yield f"/{name}"


def secrets_below(root: Path) -> dict[str, tuple[int, int]]:
    """Name of each mounted secret -> owner and mode of its file."""
    try:
        with within(root, "run/secrets") as folder:
            found = {path.name: path.lstat() for path in folder.iterdir()}
    except OSError:
        return {}
    return {name: (one.st_uid, one.st_mode & 0o7777) for name, one in found.items() if stat.S_ISREG(one.st_mode)}


def inspect_container(
    slot: str, service: str, item: Mapping[str, Any], networks: frozenset[str], processes: tuple[Process, ...]
) -> ContainerFacts:  # fmt: skip
    """All facts of one running container. item: its `podman container inspect`."""
    pid, limits = int(item["State"]["Pid"]), item["HostConfig"]
    root = Path(f"/proc/{pid}/root")
    mounts = tuple(mounts_of(pid, item, frozenset(uid for process in processes for uid in process.uids)))
    bindings = limits.get("PortBindings") or {}
    runtime = json.loads(Path(item["OCIConfigPath"]).read_text(encoding="utf-8"))
    return ContainerFacts(
        slot=slot, service=service, image=str(item["ImageName"]), processes=processes, mounts=mounts,
        devices=tuple(devices_of(pid)),
        sockets=tuple(one.target for one in mounts if one.source.startswith("/") and holds_sockets(pid, one)),
        writable=tuple(writable_below(root, frozenset(one.target for one in mountinfo(pid) if one.target != "/"))),
        published=tuple(
            (port, str(one.get("HostIp", "")), int(one["HostPort"])) for port, ones in bindings.items() for one in ones or ()
        ),
        networks=networks, gateways=gateways(pid), listens=listening(pid), ipv6=ipv6_addresses(pid),
        memory_bytes=int(limits["Memory"]), cpus=limits["NanoCpus"] / 1e9, pids=int(limits["PidsLimit"]),
        secrets=secrets_below(root), unfiltered=gaps(runtime["linux"].get("seccomp")),
    )  # fmt: skip
