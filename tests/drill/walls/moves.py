"""The obvious moves of somebody who has taken over a container: each must gain nothing."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import ssl
import stat
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.drill.walls.intruder import Move, permitted, read, syscall, written

CONNECT_SECONDS = 0.4
MS_REMOUNT, MS_BIND, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 32, 4096, 0x20000, 0x10000000, 0x40000000
CLONE, CLONE3, KEYCTL, PERF_EVENT_OPEN, BPF, USERFAULTFD, IO_URING_SETUP = 56, 435, 250, 298, 321, 323, 425
"""Numbers of system calls on x86-64, from <asm/unistd_64.h>."""
AF_ALG, AF_VSOCK, NETLINK_NETFILTER = 38, 40, 12
METADATA, RESOLVER, ABROAD = "169.254.169.254", "9.9.9.9", "1.1.1.1"
ENGINES = ("/run/podman/podman.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock")
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/devices")


def connects(address: str, port: int) -> str:
    with socket.create_connection((address, port), CONNECT_SECONDS):
        return f"reaches {address}:{port}"


def connects_by_ipv6(addresses: Iterable[str], port: int) -> str:
    """Link-local addresses of the host's bridges; which interface leads there is tried out."""
    for index, name in socket.if_nameindex():
        for address in addresses if name != "lo" else ():
            with socket.socket(socket.AF_INET6) as started:
                started.settimeout(CONNECT_SECONDS)
                try:
                    started.connect((address, port, 0, index))
                except OSError:
                    continue
                return f"reaches [{address}%{name}]:{port}"
    return ""


@dataclass(frozen=True)
class Page:
    """What nginx has for the host's own processes alone: where, under which name, at which path."""

    address: str
    port: int
    name: str
    path: str


def served_as_the_host(pages: Iterable[Page]) -> str:
    for page in pages:
        try:
            status = status_of(page)
        except OSError:
            continue
        if status not in ("403", "404"):
            return f"{page} answers {status}"
    return ""


def status_of(page: Page) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((page.address, page.port), CONNECT_SECONDS)
    with raw, context.wrap_socket(raw, server_hostname=page.name) as secured:
        secured.sendall(f"GET {page.path} HTTP/1.1\r\nHost: {page.name}\r\nConnection: close\r\n\r\n".encode())
        return secured.recv(12).decode(errors="replace").partition(" ")[2]


def asks(address: str, port: int) -> str:
    """A datagram that is answered: a question to a name server for the address of example.com."""
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(CONNECT_SECONDS)
        asking.sendto(question, (address, port))
        return f"is answered by {address}:{port}" if asking.recv(512) else ""


def opens(family: int, kind: int, protocol: int) -> str:
    with socket.socket(family, kind, protocol):
        return f"has a socket of the family {family}"


def begins(number: int, *arguments: object) -> str:
    """Whether a system call begins a process; that one ends at once."""
    if (child := syscall(number, *arguments)) == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        return f"system call {number} has begun a process with users of its own"
    return ""


CLONE_ARGUMENTS_BYTES = 64
"""CLONE_ARGS_SIZE_VER0 of <linux/sched.h>."""


def clone_arguments(flags: int) -> bytes:
    """struct clone_args: the flags first, the signal at its end fifth."""
    return struct.pack("8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)


def engine_answers() -> str:
    for path in ENGINES:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(path)
            except OSError:
                continue
            return f"reaches {path}"
    return ""


def makes_device() -> str:
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    Path("/tmp/disk").unlink()
    return "has made a block device"


def becomes(change: Callable[[int], None], number: int) -> str:
    change(number)
    return f"has become {number}"


def foreign_processes() -> str:
    """Kernel threads are the host's: whoever sees one sees its processes."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and "kthread" in (path / "comm").read_text():
            return "sees processes of the host"
    return ""


def secrets_in_environments(values: Iterable[str]) -> str:
    for path in (*Path("/proc").glob("[0-9]*/environ"), *Path("/rootfs/proc").glob("[0-9]*/environ")):
        try:
            content = path.read_text(errors="replace")
        except OSError:
            continue
        if any(value in content for value in values):
            return f"{path} holds a secret"
    return ""


def foreign_secrets(own: frozenset[str]) -> str:
    found = {path.name for path in Path("/run/secrets").iterdir()} - own
    return f"has the secrets {found}" if found else ""


def secrets_handed_over(values: Iterable[str]) -> str:
    """What the host gives to the backup container, or to any other one by the same path. A container's own secrets it has."""
    own = {path.read_text(errors="replace").strip() for path in Path("/run/secrets").glob("*")}
    values = [value for value in values if value not in own]
    for path in sorted(Path("/var/lib/cc03-host").rglob("*")):
        content = path.read_text(errors="replace") if path.is_file() else ""
        if "PRIVATE KEY-----" in content or "AGE-SECRET-KEY-1" in content or any(value in content for value in values):
            return f"{path} holds a secret"
    return ""


def set_uid_programs() -> str:
    """With no-new-privileges they are of no use, and the images should not have them either."""
    for folder in ("/usr/bin", "/usr/sbin", "/bin", "/sbin"):
        for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if not path.is_symlink() and path.lstat().st_mode & stat.S_ISUID and not _no_new_privileges():
                return f"could run {path}"
    return ""


def _no_new_privileges() -> bool:
    return bool(re.search(r"^NoNewPrivs:\s*1$", Path("/proc/self/status").read_text(), re.MULTILINE))


def sets_clock() -> str:
    time.clock_settime(time.CLOCK_REALTIME, time.time())
    return "has set the clock"


def reads_any(*paths: str) -> str:
    for path in paths:
        try:
            if gained := read(path):
                return gained
        except OSError:
            continue
    return ""


def raises_limit() -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError:
        return ""
    return "has raised a hard limit"


def runs_from_tmp() -> str:
    """A set-uid program of its own: the bit must have no effect there."""
    flags = next(line.split()[5] for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == "/tmp")
    return "" if "nosuid" in flags else "/tmp takes set-uid programs"


def moves(
    *, own_secrets: frozenset[str], values: tuple[str, ...], enclosed: bool, host: str, port: int,
    bridges: tuple[str, ...] = (), ipv6_port: int = 0, host_only: tuple[Page, ...] = (),
) -> Mapping[str, Move]:  # fmt: skip
    """All of them.

    own_secrets: that the container may have. values: of all secrets, to be looked for where they do not belong.
    enclosed: whether it needs no way out. host, port: where the host publishes the site. bridges: link-local IPv6 addresses of
    the host. ipv6_port: at which the host listens on all of them. host_only: the pages of the host.
    """
    found: dict[str, Move] = {
        "write to the root file system": partial(written, "/intruder"),
        "write to /etc": partial(written, "/etc/intruder"),
        "add a user": partial(written, "/etc/passwd"),
        "replace a program": partial(written, "/usr/local/bin/intruder"),
        "alter the configuration": partial(written, "/etc/cc03/intruder"),
        "alter the certificate": partial(written, "/etc/tls/tls.pem"),
        "alter a secret": partial(written, "/run/secrets/intruder"),
        "read another's secret": partial(foreign_secrets, own_secrets),
        "read secrets in environments": partial(secrets_in_environments, values),
        "read secrets in what the host hands over": partial(secrets_handed_over, values),
        "read the state folder": partial(read, "/var/lib/cc03/secrets"),
        "read passwords": partial(read, "/etc/shadow"),
        "have the host run a program (core_pattern)": partial(written, "/proc/sys/kernel/core_pattern"),
        "have the host run a program (release_agent)": partial(_release_agent),
        "stop the host (sysrq)": partial(written, "/proc/sysrq-trigger"),
        "load a module": partial(permitted, "syscall", 175, b"", 0, b""),
        "read the kernel's memory": partial(reads_any, "/proc/kcore", "/rootfs/proc/kcore"),
        "reach the host's files by its processes": partial(
            reads_any, "/rootfs/proc/1/root/etc/shadow", "/rootfs/proc/1/environ"
        ),
        "read the host's memory": partial(read, "/dev/mem"),
        "read the kernel's messages": partial(read, "/dev/kmsg"),
        "make a device": makes_device,
        "make the root writable": partial(permitted, "mount", None, b"/", None, MS_REMOUNT | MS_BIND, None),
        "mount a file system": partial(permitted, "mount", b"proc", b"/tmp", b"proc", 0, None),
        "have mounts of its own": partial(permitted, "unshare", CLONE_NEWNS),
        "have users of its own (unshare)": partial(permitted, "unshare", CLONE_NEWUSER),
        "have users of its own (clone)": partial(begins, CLONE, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
        "have users of its own (clone3)": partial(begins, CLONE3, clone_arguments(CLONE_NEWUSER), CLONE_ARGUMENTS_BYTES),
        "have a network of its own": partial(permitted, "unshare", CLONE_NEWUSER | CLONE_NEWNET),
        "read keys of the kernel": partial(permitted, "syscall", KEYCTL, 0, -3, 1),
        "load a program into the kernel": partial(permitted, "syscall", BPF, 5, None, 0),
        "measure the kernel": partial(permitted, "syscall", PERF_EVENT_OPEN, None, 0, -1, -1, 0),
        "catch page faults": partial(permitted, "syscall", USERFAULTFD, 1),
        "have the kernel work through a queue": partial(permitted, "syscall", IO_URING_SETUP, 1, None),
        "reach the hypervisor": partial(opens, AF_VSOCK, socket.SOCK_STREAM, 0),
        "use the kernel's cryptography": partial(opens, AF_ALG, socket.SOCK_SEQPACKET, 0),
        "reach the packet filter": partial(opens, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER),
        "trace a neighbour": partial(permitted, "ptrace", 0, 0, None, None),
        "leave the root folder": partial(permitted, "chroot", b"/tmp"),
        "become root": partial(becomes, os.setuid, 0),
        "become another service": partial(becomes, os.setuid, 60705),
        "join another group": partial(becomes, os.setgid, 0),
        "use a set-uid program": set_uid_programs,
        "put a set-uid program into /tmp": runs_from_tmp,
        "see the host's processes": foreign_processes,
        "raise its own limits": raises_limit,
        "raise its own priority": partial(permitted, "setpriority", 0, 0, -20),
        "set the clock": sets_clock,
        "name the host": partial(permitted, "sethostname", b"intruder", 8),
        "listen to its neighbours": partial(opens, socket.AF_PACKET, socket.SOCK_RAW, 0x300),
        "forge packets": partial(opens, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "command the container engine": engine_answers,
        "reach the host by IPv6": partial(connects_by_ipv6, bridges, ipv6_port),
        "be served as the host": partial(served_as_the_host, host_only),
    }
    if enclosed:
        found |= {
            "ask the cloud for credentials": partial(connects, METADATA, 80),
            "reach the internet": partial(connects, ABROAD, 443),
            "reach a name server": partial(asks, RESOLVER, 53),
            "reach the host": partial(connects, host, port),
        }
    return found


def _release_agent() -> str:
    for folder in CGROUPS:
        if (path := Path(folder) / "release_agent").exists():
            return written(str(path))
    return ""
