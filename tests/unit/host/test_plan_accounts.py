"""Ids of containers, and who on the host has one of them."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest

from ops.host import accounts
from ops.host.accounts import Account, ids_of, subordinate, taken
from tests.unit.builders import stack
from tests.unit.security_audit.facts import declared_stack

IDS = {10005: ("postgres",), 10006: ("redis",)}


def test_every_id_that_a_container_of_this_checkout_runs_with_is_known() -> None:
    ids = ids_of(declared_stack())

    assert 0 not in ids
    assert {one.owner for one in declared_stack().services.values()} - {0} <= set(ids)
    assert ids[declared_stack().services["logs"].certificate_owner] == ("logs",)
    assert ids[declared_stack().services["prometheus"].owner] == ("backup", "prometheus")


@pytest.mark.parametrize(
    ("account", "hit"),
    [
        (Account("user", "ann", 10006), True),
        (Account("user", "bob", 1000), False),
        (Account("subuid", "bob", 10000, 6), True),
        (Account("subuid", "bob", 10000, 5), False),
        (Account("subgid", "bob", 10007, 65536), False),
    ],
)
def test_account_is_found_by_number_and_by_range(account: Account, hit: bool) -> None:
    assert [one.account for one in taken(IDS, [account])] == ([account] if hit else [])


def test_ranges_are_read_whatever_else_the_file_holds() -> None:
    text = "# of users\nann:100000:65536\n\n  bob:10000:10 \nbroken:x:1\n"

    assert list(subordinate("subuid", text)) == [Account("subuid", "ann", 100000, 65536), Account("subuid", "bob", 10000, 10)]


def test_accounts_are_asked_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that those of a directory service, which does not list them, are found as well."""
    (number, _), *_ = ids_of(stack()).items()
    entry = pwd.struct_passwd(("ann", "x", number, number, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda asked: {number: entry}[asked])
    monkeypatch.setattr(grp, "getgrgid", lambda asked: {}[asked])
    monkeypatch.setattr(accounts, "RANGES", {"subuid": tmp_path / "none"})

    assert [one.account for one in accounts.taken_ids(stack())] == [Account("user", "ann", number)]
