"""What is loaded before `inv status` prints: nothing that only a deploy needs. Measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.builders import REPOSITORY

PROGRAM = """
import ast, importlib, sys
import tasks
from ops.status import commands
listed = set(sys.modules)
for node in ast.walk(ast.parse(open(commands.__file__).read())):
    if isinstance(node, ast.ImportFrom) and node.module.startswith("ops."):
        module = importlib.import_module(node.module)
        for name in node.names:
            if not hasattr(module, name.name):
                importlib.import_module(f"{node.module}.{name.name}")
print(*listed)
print(*sys.modules)
"""
"""What each function of the command imports, imported."""
OF_DEPLOYS = ("ops.deploy", "ops.images", "ops.engines.podman.images", "ops.core.executor", "ops.keycloak.realm", "ops.host")
COMMANDS = (
    "ops.deploy", "ops.deploy.commands", "ops.images", "ops.images.commands",
    "ops.keycloak.realm", "ops.keycloak.realm.commands", "ops.host", "ops.host.commands",
)  # fmt: skip
"""Loaded by tasks.py: they declare the commands."""


@pytest.fixture(scope="module")
def loaded() -> tuple[set[str], set[str]]:
    """Modules that `inv --list` has loaded, and those that `inv status` has. A fixture of the module may start Python."""
    ended = subprocess.run(
        (sys.executable, "-c", PROGRAM), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    listed, status = ended.stdout.splitlines()
    return set(listed.split()), set(status.split())


def test_status_loads_nothing_that_only_deploys_need_and_the_list_next_to_nothing(
    loaded: tuple[set[str], set[str]],
) -> None:
    listed, status = loaded
    too_much = {name for name in status if name.startswith(OF_DEPLOYS)} - set(COMMANDS)

    assert {"ops.status.commands", "ops.engines.podman.engine", "yaml"} <= status
    assert too_much == set()
    assert {"aiohttp", "keycloak", "acme"} & status == set()
    assert {"rich", "cryptography", "pydantic", "ops.project", "ops.stack"} & listed == set()
