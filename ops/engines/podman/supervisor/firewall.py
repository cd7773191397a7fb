"""Loads a project's packet filter into the kernel, tells whether it is there unchanged, and removes it.

Beside the rules lies what `nft list` says of them once they are loaded. The kernel's table is compared with that: a rule that
is removed, altered or added is found.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.errors import OpsError
from ops.core.machine import addresses, nameservers
from ops.core.process import installed, run

RULES, LISTED, ADMITTED = "rules.nft", "listed.nft", "admitted.json"
SETS = ("receivers", "resolvers")
DAY = 86400.0
ALTERED = "altered"
SECONDS = 20.0
RECEIVER = re.compile(r"^# receiver (\S+) (\d+)$", re.MULTILINE)
"""How the rules name a declared receiver (ops/stack/firewall_rules.py)."""
HELP = """\
# HELP cc03_alert_receiver_known Whether this host knows an address of a declared receiver of alerts.
# TYPE cc03_alert_receiver_known gauge
"""


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
    # The sets of a table that was just loaded are empty.
    (folder(state) / ADMITTED).unlink(missing_ok=True)
    files.write(folder(state) / RULES, rules, mode=0o600)
    files.write(folder(state) / LISTED, _listing(table_of(rules)), mode=0o600)


def ensure(state: Path) -> bool:
    """Load again what was loaded last, where the kernel has lost it: after a boot, or where somebody has flushed its tables.

    Returns whether that was necessary. Does nothing where nothing was ever loaded.
    """
    if loaded(state) != ALTERED:
        return False
    load(state, _read(folder(state) / RULES))
    return True


def receivers(state: Path) -> tuple[tuple[str, int], ...]:
    """Host and port of each receiver that the loaded rules declare."""
    return tuple((host, int(port)) for host, port in RECEIVER.findall(_read(folder(state) / RULES)))


def admit(state: Path) -> tuple[str, ...]:
    """Have the packet filter let pass what goes to the receivers and the resolvers: to their present addresses and those of the
    last day, and nothing else.

    Returns the names that cannot be looked up.
    """
    declared = receivers(state)
    if not declared:
        return ()
    now, unknown = time.time(), []
    admitted = {
        name: {one: at for one, at in elements.items() if now - at < DAY} for name, elements in _admitted(state).items()
    }
    admitted["resolvers"] |= dict.fromkeys(nameservers(), now)
    for host, port in declared:
        if not (found := addresses(host)):
            unknown.append(host)
        admitted["receivers"] |= {f"{address} . {port}": now for address in found}
    table = table_of(_read(folder(state) / RULES))
    # One transaction: an element that somebody else has added goes, and no connection is dropped meanwhile.
    lines = [f"flush set ip {table} {name}\n" for name in SETS]
    lines += [f"add element ip {table} {name} {{ {one} }}\n" for name in SETS for one in admitted[name]]
    answer = run(("nft", "--file", "-"), timeout=SECONDS, stdin="".join(lines), ok=None)
    if answer.returncode:
        raise OpsError(
            "the packet filter does not take the receivers of alerts", answer.last_words(), "inv deploy loads it again"
        )
    files.write(folder(state) / ADMITTED, json.dumps(admitted), mode=0o600, durable=False)
    return tuple(unknown)


def intruders(state: Path) -> tuple[str, ...]:
    """Addresses that the packet filter lets Alertmanager reach, and that were never those of a receiver or a resolver."""
    rules = _read(folder(state) / RULES)
    if not receivers(state):
        return ()
    admitted, found = _admitted(state), []
    for name in SETS:
        answer = run(("nft", "--json", "list", "set", "ip", table_of(rules), name), timeout=SECONDS, ok=None)
        listed = json.loads(answer.stdout) if answer.returncode == 0 else {"nftables": []}
        elements = [one for item in listed["nftables"] for one in item.get("set", {}).get("elem", ())]
        found += [one for one in map(_element, elements) if one not in admitted[name]]
    return tuple(sorted(found))


def _element(listed: Mapping[str, Any] | str) -> str:
    """As `nft --file` takes it: `192.0.2.7 . 587`."""
    value = listed if isinstance(listed, str) else listed.get("elem", listed)
    value = value["val"] if isinstance(value, dict) and "val" in value else value
    return " . ".join(map(str, value["concat"])) if isinstance(value, dict) else str(value)


def _admitted(state: Path) -> dict[str, dict[str, float]]:
    """Set -> its elements and when each was last an address of what it is for."""
    try:
        kept = json.loads(_read(folder(state) / ADMITTED))
        return {name: {str(one): float(at) for one, at in kept[name].items()} for name in SETS}
    except (ValueError, KeyError, AttributeError):
        return {name: {} for name in SETS}


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

    def exposition(self) -> str:
        """What the last lookup has found, in Prometheus' text format. Empty where no receiver is declared."""
        hosts = sorted({host for host, _ in receivers(self.state)})
        lines = [f'cc03_alert_receiver_known{{receiver="{host}"}} {int(host not in self.unknown)}\n' for host in hosts]
        return "".join([HELP, *lines]) if lines else ""


def remove(state: Path) -> None:
    """Remove the table and what is remembered of it; no other table is touched."""
    if rules := _read(folder(state) / RULES):
        # Made first where it is gone already, so that its removal cannot fail.
        name = table_of(rules)
        run(("nft", "--file", "-"), timeout=SECONDS, stdin=f"table ip {name} {{}}\ndelete table ip {name}\n")
    for name in (RULES, LISTED, ADMITTED):
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
