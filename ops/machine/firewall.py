"""Loads a project's packet filter into the kernel, tells whether it is there unchanged, and removes it.

Beside the rules lies what `nft list` says of them once they are loaded. The kernel's table is compared with that: a rule that
is removed, altered or added is found. Standard library only: the health ticker runs a copy of this file.
"""

from __future__ import annotations

from pathlib import Path

from ops.errors import OpsError
from ops.machine.run import installed, run

RULES, LISTED = "rules.nft", "listed.nft"
ALTERED = "altered"
SECONDS = 20.0


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
    answer = run(("nft", "list", "table", "ip", table), timeout=SECONDS, ok=None)
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
