"""One container seen from inside: mounts, devices, sockets, what can be written, and its limits."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.machine.walls.sockets import gateways, ipv6_addresses, listening
from ops.plan.seccomp import gaps
from ops.plan.walls.facts import Mount, Process, SeenContainer

STANDARD_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
"""As the OCI runtime specification lists them for every container."""
FOLDERS = ("", "etc", "usr/local/bin", "var/lib", "root", "home")
KERNEL = ("proc/sys/kernel/core_pattern", "proc/sysrq-trigger", "sys/kernel/uevent_helper", "sys/power/state")
"""Files with which root in a container runs programs on the host, or stops it. Opened, never written."""
ENGINES_OWN = (
    "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/dev", "/proc", "/sys"
)  # fmt: skip
"""What Podman mounts into every container by itself."""
IN_MEMORY = ("tmpfs", "ramfs")
DEPTH, ENTRIES = 3, 4000
"""How far below a mount sockets are looked for."""


def mountinfo(pid: int) -> list[tuple[str, str, frozenset[str], str]]:
    """(path on its file system, mount point, options, type) of each mount of a process: proc(5)."""
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        found.append((fields[3], fields[4], frozenset(fields[5].split(",")), after.split()[0]))
    return found


def below(path: str, tops: tuple[str, ...]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


def mounts_of(pid: int, item: Mapping[str, Any], uids: frozenset[int]) -> Iterator[Mount]:
    """What Podman was told to mount, with the options that the kernel holds, and whatever else has been mounted since.

    Parameters
    ----------
    uids: of the container's processes.
    """
    kernel = mountinfo(pid)
    options = {target: opts for _, target, opts, _ in kernel}
    told = {one["Destination"]: one for one in item["Mounts"] if one["Type"] in ("bind", "volume")}
    for target, one in told.items():
        source = one["Name"] if one["Type"] == "volume" else one["Source"]
        opts = options.get(target, frozenset())
        # `:ro` makes the mount itself read-only, and not what is mounted below it.
        writable = "rw" in opts if opts else bool(one["RW"])
        yield Mount(source, target, writable or _writable_below(pid, target, kernel, uids), opts)
    for root, target, opts, kind in kernel:
        if target == "/" or below(target, (*told, *ENGINES_OWN)):
            continue
        yield Mount("" if kind in IN_MEMORY else root, target, "rw" in opts, opts)


def _writable_below(
    pid: int, top: str, kernel: list[tuple[str, str, frozenset[str], str]], uids: frozenset[int]
) -> bool:  # fmt: skip
    """Whether something below a mount can be written, by one of these users."""
    return any(
        target.startswith(f"{top}/") and "rw" in opts and _may_write(Path(f"/proc/{pid}/root{target}"), uids)
        for _, target, opts, _ in kernel
    )


def _may_write(path: Path, uids: frozenset[int]) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return 0 in uids or bool(found.st_mode & 0o002) or (found.st_uid in uids and bool(found.st_mode & 0o200))


def devices_of(pid: int) -> Iterator[str]:
    root = Path(f"/proc/{pid}/root/dev")
    for path in root.iterdir():
        mode = path.lstat().st_mode
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and path.name not in STANDARD_DEVICES:
            yield f"/dev/{path.name}"


def holds_sockets(pid: int, mount: Mount) -> bool:
    """Whether what is mounted from the host is a Unix socket, or has some below it."""
    top = Path(f"/proc/{pid}/root{mount.target}")
    if _is_socket(top):
        return True
    seen = 0
    for folder, folders, names in os.walk(top):
        if len(Path(folder).relative_to(top).parts) >= DEPTH or seen > ENTRIES:
            folders.clear()
        seen += len(names)
        if any(_is_socket(Path(folder) / name) for name in names):
            return True
    return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def written_in(pid: int) -> Iterator[str]:
    """Where a file could be made on the root file system, and which files of the kernel could be opened to write."""
    root = Path(f"/proc/{pid}/root")
    writable = {target for _, target, _, _ in mountinfo(pid) if target != "/"}
    for folder in FOLDERS:
        path = root / folder
        if path.is_symlink() or not path.is_dir() or f"/{folder}" in writable:
            continue
        attempt = path / f".cc03-audit-{os.getpid()}"
        try:
            attempt.touch()
        except OSError:
            continue
        attempt.unlink(missing_ok=True)
        yield f"/{folder}"
    for name in KERNEL:
        try:
            os.close(os.open(root / name, os.O_WRONLY))
        except OSError:
            continue
        yield f"/{name}"


def secrets_in(pid: int) -> dict[str, tuple[int, int]]:
    folder = Path(f"/proc/{pid}/root/run/secrets")
    if not folder.is_dir():
        return {}
    seen = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    return {name: (found.st_uid, found.st_mode & 0o7777) for name, found in seen.items()}


def published(item: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    bindings = item["HostConfig"].get("PortBindings") or {}
    return tuple(
        (port, str(one.get("HostIp", "")), int(one["HostPort"])) for port, ones in bindings.items() for one in ones or ()
    )


def filter_of(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The seccomp filter that the runtime was given for a container; None where it was given none."""
    specification = json.loads(Path(item["OCIConfigPath"]).read_text(encoding="utf-8"))
    found: Mapping[str, Any] | None = specification["linux"].get("seccomp")
    return found


def look_inside(
    slot: str, service: str, item: Mapping[str, Any], networks: frozenset[str], processes: tuple[Process, ...]
) -> SeenContainer:  # fmt: skip
    """Everything about one container that runs. `item`: what `podman container inspect` says of it."""
    pid, limits = int(item["State"]["Pid"]), item["HostConfig"]
    uids = frozenset(uid for process in processes for uid in process.uids)
    mounts = tuple(mounts_of(pid, item, uids))
    return SeenContainer(
        slot=slot, service=service, image=str(item["ImageName"]), processes=processes, mounts=mounts,
        devices=tuple(sorted(devices_of(pid))),
        sockets=tuple(one.target for one in mounts if one.source.startswith("/") and holds_sockets(pid, one)),
        written=tuple(written_in(pid)), published=published(item), networks=networks, gateways=gateways(pid),
        listens=listening(pid), ipv6=ipv6_addresses(pid), memory_bytes=int(limits["Memory"]), cpus=limits["NanoCpus"] / 1e9,
        pids=int(limits["PidsLimit"]), secrets=secrets_in(pid),
        unfiltered=gaps(filter_of(item)),
    )  # fmt: skip
