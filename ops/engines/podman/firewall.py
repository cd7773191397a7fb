"""Loads a project's packet filter into the kernel, tells whether it is there unchanged, and removes it.

Beside the rules lies what `nft list` says of them once they are loaded. The kernel's table is compared with that: a rule that
is removed, altered or added is found. Standard library only: the health ticker runs a copy of this file.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ops.core.errors import OpsError
from ops.core.process import installed, run

RULES, LISTED = "rules.nft", "listed.nft"
ALTERED = "altered"
SECONDS = 20.0
RECEIVER = re.compile(r"^# receiver (\S+) (\d+)$", re.MULTILINE)
"""How the rules name a declared receiver (ops/engines/podman/firewall_rules.py)."""
RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where Podman looks for what it writes into a container's: the second, where the first names nothing but the host itself."""


def folder(state: Path) -> Path:
    return state / "firewall"


def loaded(state: Path) -> str:
    """The rules that the kernel has as they were loaded; `ALTERED` where it has others or none of them any more, empty where
    none were ever loaded."""
    rules = _read(folder(state) / RULES)
    if not rules:
        return ""
    return rules if _listing(table_of(rules)) == _read(folder(state) / LISTED) else ALTERED


def load(state: Path, rules: str) -> None:
    """Replace the table in one transaction. Raises OpsError where the kernel or nft does not take it."""
    answer = run(("nft", "--file", "-"), timeout=SECONDS, stdin=rules, ok=None)
    if answer.returncode:
        raise OpsError(
            "the packet filter of the published network cannot be loaded", answer.last_words(),
            "load the kernel modules nf_tables, nft_nat, nft_ct and nft_fib_ipv4 (modprobe), then inv deploy",
        )  # fmt: skip
    folder(state).mkdir(mode=0o700, exist_ok=True)
    _write(folder(state) / RULES, rules)
    _write(folder(state) / LISTED, _listing(table_of(rules)))


def ensure(state: Path) -> bool:
    """Load again what was loaded last, where the kernel has lost it: after a boot, or where somebody has flushed its tables.

    Returns whether that was necessary. Does nothing where nothing was ever loaded.
    """
    if loaded(state) != ALTERED:
        return False
    load(state, _read(folder(state) / RULES))
    return True


def admit(state: Path) -> tuple[str, ...]:
    """Enter the present addresses of the declared receivers, and of the resolvers, into the packet filter, for a day.

    Returns the names that cannot be looked up; the addresses that they had before stay until their day is over.
    """
    rules = _read(folder(state) / RULES)
    receivers = RECEIVER.findall(rules)
    if not receivers:
        return ()
    unknown, elements = [], [("resolvers", address) for address in nameservers()]
    for host, port in receivers:
        try:
            found = {str(item[4][0]) for item in socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)}
        except OSError:
            unknown.append(host)
            continue
        elements += [("receivers", f"{address} . {port}") for address in sorted(found)]
    name = table_of(rules)
    # What is added again keeps its end, so it is removed first; and what is not there cannot be removed.
    lines = [
        f"{verb} element ip {name} {group} {{ {element} }}\n"
        for group, element in dict.fromkeys(elements) for verb in ("add", "delete", "add")
    ]  # fmt: skip
    answer = run(("nft", "--file", "-"), timeout=SECONDS, stdin="".join(lines), ok=None)
    if answer.returncode:
        raise OpsError(
            "the packet filter does not take the receivers of alerts", answer.last_words(), "inv deploy loads it again"
        )
    return tuple(unknown)


class Receivers:
    """Looks the receivers of alerts up anew, beside what else is done: a resolver may take long to answer, or not answer."""

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self.state, self.say = state, say
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="receivers")
        self.lookup: Future[tuple[str, ...]] | None = None
        self.unknown: tuple[str, ...] = ()

    def round(self) -> None:
        """Begin a lookup, unless one is under way, and say how the one before has ended where that is news."""
        if self.lookup is not None:
            if not self.lookup.done():
                return
            if problem := self.lookup.exception():
                self.say(f"{getattr(problem, 'what', type(problem).__name__)}: {getattr(problem, 'why', problem)}")
            elif (unknown := self.lookup.result()) != self.unknown:
                self.unknown = unknown
                self.say(f"receivers of alerts without an address: {', '.join(unknown) or 'none any more'}")
        self.lookup = self.pool.submit(admit, self.state)


def nameservers() -> tuple[str, ...]:
    """IPv4 addresses of the resolvers that a container on a network with a way out is given."""
    for path in RESOLV_CONF:
        found = re.findall(r"^\s*nameserver\s+(\d+(?:\.\d+){3})\s*$", _read(path), re.MULTILINE)
        if outside := tuple(address for address in found if not address.startswith("127.")):
            return outside
    return ()


def remove(state: Path) -> None:
    """Remove the table and what is remembered of it; no other table is touched."""
    if rules := _read(folder(state) / RULES):
        # Made first where it is gone already, so that its removal cannot fail.
        name = table_of(rules)
        run(("nft", "--file", "-"), timeout=SECONDS, stdin=f"table ip {name} {{}}\ndelete table ip {name}\n")
    for name in (RULES, LISTED):
        (folder(state) / name).unlink(missing_ok=True)


def table_of(rules: str) -> str:
    """The name of the table, which its first line has: `table ip NAME {}`."""
    return rules.split()[2]


def _listing(table: str) -> str:
    if not installed("nft"):
        return ""
    # Terse: without the elements of sets, which change with the addresses of the receivers.
    answer = run(("nft", "--terse", "list", "table", "ip", table), timeout=SECONDS, ok=None)
    return answer.stdout if answer.returncode == 0 else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(path)
