"""This machine: where the checkout is, free ports, routes, memory, and what decides how containers can run here."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EVERYWHERE = "0.0.0.0"  # noqa: S104  (only asked about, never listened on for longer)
SECCOMP_DEFAULTS = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
"""Where engines look for the default profile of containers, the operator's first."""
RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where engines look for what they write into a container's: the second, where the first names nothing but the host itself."""
PROGRAMS = ("podman", "crun", "runc", "netavark", "mmdebstrap", "conmon", "nft", "iptables")


@dataclass(frozen=True)
class HostFacts:
    """cgroups: v1, v2 or hybrid. nofile, nproc: this process's hard limits, None for unlimited."""

    systemd: bool = True
    cgroups: str = "v2"
    may_raise_limits: bool = True
    nofile: int | None = None
    nproc: int | None = None
    programs: frozenset[str] = field(default_factory=frozenset)
    root: bool = True
    seccomp: bool = True
    """Whether the default profile of containers is installed."""


def now() -> str:
    """The time, as records have it: local, with its distance from UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def host_facts() -> HostFacts:
    cgroup = Path("/sys/fs/cgroup")
    unified = (cgroup / "cgroup.controllers").exists()
    hybrid = (cgroup / "unified" / "cgroup.controllers").exists()
    return HostFacts(
        systemd=Path("/run/systemd/system").is_dir(),
        cgroups="v2" if unified else "hybrid" if hybrid else "v1",
        may_raise_limits=bool(int(_word("/proc/self/status", r"^CapEff:\s*([0-9a-f]+)") or "0", 16) >> 24 & 1),
        nofile=_hard_limit("Max open files"),
        nproc=_hard_limit("Max processes"),
        programs=frozenset(filter(_found, PROGRAMS)),
        root=os.geteuid() == 0,
        seccomp=any(path.is_file() for path in SECCOMP_DEFAULTS),
    )


def _word(path: str, pattern: str) -> str:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return match[1] if match else ""


def _hard_limit(name: str) -> int | None:
    value = _word("/proc/self/limits", rf"^{name}\s+\S+\s+(\S+)")
    return int(value) if value.isdigit() else None


def _found(name: str) -> bool:
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/lib/podman", "/usr/libexec/podman"]
    return any(os.access(Path(folder) / name, os.X_OK) for folder in folders if folder)


def port_is_free(port: int, address: str = EVERYWHERE) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def routed_subnets() -> tuple[str, ...]:
    """IPv4 destinations of the kernel's routing table, in CIDR form."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (bytes.fromhex(fields[index])[::-1] for index in (1, 7))
        bits = sum(byte.bit_count() for byte in mask)
        if bits:
            found.append(".".join(map(str, destination)) + f"/{bits}")
    return tuple(found)


def available_memory() -> int:
    """Bytes that new programs could have without swapping, as the kernel estimates (MemAvailable, proc(5))."""
    return int(_word("/proc/meminfo", r"^MemAvailable:\s*(\d+) kB") or 0) << 10


def addresses(host: str) -> tuple[str, ...]:
    """IPv4 addresses of a name, as this host looks them up; none where it is unknown or nobody answers."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(sorted({str(item[4][0]) for item in found}))


def nameservers() -> tuple[str, ...]:
    """IPv4 addresses of the resolvers that a container on a network with a way out is given."""
    for path in RESOLV_CONF:
        found = re.findall(r"^\s*nameserver\s+(\d+(?:\.\d+){3})\s*$", _text(path), re.MULTILINE)
        if outside := tuple(address for address in found if not address.startswith("127.")):
            return outside
    return ()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
