"""The kernel's tables of a network: who listens, which connections there are, where the routes lead."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp, from the kernel's tcp_states.h."""
LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"^(?:127\.|0\.0\.0\.0$)")


@dataclass(frozen=True)
class Entry:
    """One line of the kernel's table of TCP sockets in a network."""

    address: str
    port: int
    peer_port: int
    listens: bool
    inode: str


def sockets_of(process: int | str) -> list[Entry]:
    """TCP sockets in the network of a process (`self`: of this one). Raises OSError where it is gone."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            where, _, port = fields[1].rpartition(":")
            address = _address(where[-8:])
            if where == f"{0:024}01000000":
                address = LOOPBACK  # ::1
            peer = int(fields[2].rpartition(":")[2], 16)
            found.append(Entry(address, int(port, 16), peer, fields[3] == LISTENING, fields[9]))
    return found


def _address(hexadecimal: str) -> str:
    return socket.inet_ntoa(struct.pack("<L", int(hexadecimal, 16)))


def listening(process: int) -> frozenset[int]:
    """TCP ports in the network of a process that are open to others than those in it."""
    return frozenset(entry.port for entry in sockets_of(process) if entry.listens and not entry.address.startswith("127."))


def gateways(process: int) -> tuple[str, ...]:
    """Where the default routes of a process lead."""
    rows = [line.split() for line in Path(f"/proc/{process}/net/route").read_text().splitlines()[1:]]
    return tuple(_address(row[2]) for row in rows if row[1] == "00000000")


def ipv6_addresses(process: int | str) -> tuple[str, ...]:
    """IPv6 addresses in the network of a process (`self`: of this one), loopback aside; none where the kernel has no IPv6."""
    table = Path(f"/proc/{process}/net/if_inet6")
    rows = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    return tuple(str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[5] != "lo")


def host_addresses() -> frozenset[str]:
    """The host's own IPv4 addresses but loopback, read from its local routing table."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {lines[index - 1].split()[-1] for index, line in enumerate(lines) if "/32 host LOCAL" in line}
    return frozenset(address for address in found if not _ADDRESS.match(address))


def held_by(process: int) -> Iterator[tuple[str, int]]:
    """(address, port) that a process of the host listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue  # closed meanwhile
    yield from ((entry.address, entry.port) for entry in sockets_of("self") if entry.listens and entry.inode in inodes)
