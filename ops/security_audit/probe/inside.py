"""One container seen from inside: mounts, devices, sockets, what can be written, and its limits."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from ops.engines.podman.supervisor.within import within
from ops.security_audit.facts import Mount, Process, SeenContainer
from ops.security_audit.probe.sockets import gateways, ipv6_addresses, listening
from ops.stack.seccomp import gaps

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
        target.startswith(f"{top}/") and "rw" in opts and _may_write(Path(f"/proc/{pid}/root"), target, uids)
        for _, target, opts, _ in kernel
    )


def _may_write(root: Path, path: str, uids: frozenset[int]) -> bool:
    try:
        with within(root, path) as place:
            found = place.stat()
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
    mounted = frozenset(target for _, target, _, _ in mountinfo(pid) if target != "/")
    return writable_below(Path(f"/proc/{pid}/root"), mounted)


def writable_below(root: Path, mounted: frozenset[str]) -> Iterator[str]:
    """The same of a root folder. `mounted`: what is a file system of its own."""
    for folder in FOLDERS:
        if f"/{folder}" in mounted:
            continue
        try:
            with within(root, folder) as place:
                attempt = place / f".cc03-audit-{token_hex(8)}"
                # Made here and now: a link of that name, which the container could have laid, is not followed.
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


def secrets_in(pid: int) -> dict[str, tuple[int, int]]:
    return secrets_below(Path(f"/proc/{pid}/root"))


def secrets_below(root: Path) -> dict[str, tuple[int, int]]:
    """Name of each secret -> owner and mode of its file."""
    try:
        with within(root, "run/secrets") as folder:
            seen = {path.name: path.lstat() for path in folder.iterdir()}
    except OSError:
        return {}
    return {name: (one.st_uid, one.st_mode & 0o7777) for name, one in seen.items() if stat.S_ISREG(one.st_mode)}


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
