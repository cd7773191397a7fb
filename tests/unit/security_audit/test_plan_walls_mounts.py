"""What the audit expects to be mounted beyond compose.yaml: repositories that the operator names, and secrets as files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from ops.security_audit.facts import Facts, Mount
from ops.stack.compose import parse_stack
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings
from tests.unit.security_audit.test_plan_walls import numbers
from tests.unit.walls_facts import TEXT, with_mount


def _with_repositories(folder: str) -> Facts:
    """A backup that has a repository in a folder of the host, and another one elsewhere."""
    own = settings(yaml.safe_dump({"backup": {"repositories": [
        {"name": "disk2", "path": "/mnt/disk2"},
        {"name": "nas", "sftp": {"host": "nas.example.org", "user": "backup", "path": "/srv", "host_key": "ssh-ed25519 AAAA"}},
    ]}}))  # fmt: skip
    stack = parse_stack(TEXT, own, PORTS, REPOSITORY, STATE)
    mounted = Mount(folder, "/var/lib/cc03-repositories/disk2", True, frozenset({"rw"}))
    facts = with_mount("backup", mounted)
    seen = replace(
        facts.containers["backup"], networks=frozenset({"data", "outward"}), gateways=("10.64.4.1",),
        secrets=dict.fromkeys(stack.services["backup"].secrets, (60711, 0o400)),
    )  # fmt: skip
    return replace(facts, stack=stack, containers={**facts.containers, "backup": seen})


def test_repositories_that_the_operator_names_are_no_findings() -> None:
    assert numbers(_with_repositories("/mnt/disk2")) == set()


def test_another_folder_in_the_place_of_a_repository_is_a_finding() -> None:
    assert numbers(_with_repositories("/etc")) == {"2.11"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("/state/handed/60706/cc03-redis-app-3", False),
        pytest.param("/state/handed/60705/cc03-redis-app-3", True, id="for another user"),
        pytest.param("/state/handed/60706/cc03-postgres-app-3", True, id="another secret under its name"),
        pytest.param("/state/handed/60706/cc03-redis-app", True, id="no version"),
    ],
)
def test_a_secret_of_its_own_may_be_mounted_as_a_file(source: str, found: bool) -> None:
    """Where secrets are encrypted at rest."""
    assert ("2.12" in numbers(with_mount("redis", Mount(source, "/run/secrets/redis-app", False)))) == found
