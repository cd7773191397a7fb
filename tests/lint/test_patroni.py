"""Patroni's settings agree with those of PostgreSQL alone, and with Patroni's own rules."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.unit.builders import REPOSITORY

CONFIG = REPOSITORY / "config" / "postgres"
SETTINGS: dict[str, Any] = yaml.safe_load((CONFIG / "patroni.yaml").read_text(encoding="utf-8"))
SHARED: dict[str, Any] = SETTINGS["bootstrap"]["dcs"]


def alone(name: str) -> str:
    """A setting of PostgreSQL on one host."""
    found = re.findall(rf"^{name} = (\S+)$", (CONFIG / "postgresql.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(found) == 1, name
    return str(found[0])


@pytest.mark.parametrize("name", ["max_connections", "max_worker_processes"])
def test_a_member_has_what_one_host_has(name: str) -> None:
    """Patroni sets these in the place of postgresql.conf, and its own defaults where it has none."""
    assert SHARED["postgresql"]["parameters"][name] == int(alone(name))


@pytest.mark.parametrize("name", ["max_wal_senders", "max_replication_slots"])
def test_replicas_have_places_of_their_own(name: str) -> None:
    replicas, copies = 2, 2

    assert SHARED["postgresql"]["parameters"][name] >= int(alone(name)) + replicas + copies


def test_a_primary_stops_before_its_lock_ends() -> None:
    """Patroni would change these to fit, and say so in its log alone."""
    assert SHARED["loop_wait"] + 2 * SHARED["retry_timeout"] <= SHARED["ttl"]


def test_acknowledged_commits_are_on_two_members() -> None:
    assert (SHARED["synchronous_mode"], SHARED["synchronous_node_count"]) == ("quorum", 1)
