"""A control plane of its own for the session, and a namespace of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.api_server import Api, control_plane

OPERATOR = "operator"


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with control_plane(tmp_path_factory.mktemp("api")) as found:
        yield found


@pytest.fixture
def own_namespace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for restricted pods, in which the user `operator` has all rights, and nowhere else."""
    with api.admin.namespace_for(request.node.name, OPERATOR) as name:
        yield name
