"""Keycloak to be broken, and sound again before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drill.keycloak.hands import Keycloak
from tests.drill.stack import Drill


@pytest.fixture(scope="module")
def keycloak(drill: Drill) -> Iterator[Keycloak]:
    """Its user and the state to go back to are those of this file: the one before may have put another database in place."""
    drill.await_healthy()
    made = Keycloak(drill)
    yield made
    made.accounts.remove()


@pytest.fixture
def sound(keycloak: Keycloak) -> Keycloak:
    """Keycloak as it should be, whatever the test before has left."""
    if keycloak.put_back:
        return keycloak
    if keycloak.login_problem() or keycloak.diagnosis()["findings"]:
        keycloak.drill.deploy()
        keycloak.await_login()
        assert keycloak.diagnosis()["findings"] == []
    return keycloak
