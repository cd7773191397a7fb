"""A cluster of three nodes for the session, and a namespace of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.bed import Cluster, cluster

OPERATOR = "operator"


@pytest.fixture(scope="session")
def bed() -> Iterator[Cluster]:
    with cluster(3) as found:
        yield found


@pytest.fixture
def own_namespace(bed: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for restricted pods, in which the user `operator` has all rights, and nowhere else."""
    with bed.admin.namespace_for(request.node.name, OPERATOR) as name:
        yield name
