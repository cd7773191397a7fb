"""Every container asks every listener with declared clients for each kind of path: without a certificate, with its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor.health import network_of
from ops.project import Project
from ops.security_audit.controls.network import place
from ops.security_audit.facts import Connection
from ops.security_audit.probe.connections import Place, addresses
from ops.security_audit.probe.gather import places_of, read_listeners
from ops.security_audit.probe.requests import ask
from tests.smoke.live import eventually
from tests.smoke.test_isolation import SERVICES

QUERY = "/select/logsql/query?query=*&limit=1"
PATHS: dict[tuple[str, int], dict[str, str]] = {
    ("logs", 9428): {
        "query": QUERY, "tail": "/select/logsql/streams?query=*", "health": "/health", "metrics": "/metrics",
        "insert": "POST /insert/jsonline?_stream_fields=service", "bulk insert": "POST /insert/elasticsearch/_bulk",
        "insert by a way up": "POST /select/logsql/../../insert/jsonline", "pages": "/select/vmui/",
        "insert by a hidden way": "/insert/..%2fselect/logsql/query?query=*&limit=1", "flush": "/internal/force_flush",
        "merge": "/internal/force_merge", "flags": "/flags", "profile": "/debug/pprof/", "heap": "/debug/pprof/heap",
        "delete": "/delete/run_task?filter=*", "first page": "/",
    },
    ("prometheus", 9090): {
        "query": "/prometheus/api/v1/query?query=up", "metrics": "/prometheus/metrics", "profile": "/prometheus/debug/pprof/",
        "federate": "/prometheus/federate?match[]=up", "flags": "/prometheus/api/v1/status/flags",
        "reload": "POST /prometheus/-/reload",
    },
    ("alertmanager", 9093): {
        "alerts": "/alertmanager/api/v2/alerts", "silences": "/alertmanager/api/v2/silences",
        "metrics": "/alertmanager/metrics", "profile": "/alertmanager/debug/pprof/",
    },
    ("cadvisor", 8080): {"metrics": "/metrics", "health": "/healthz"},
    ("cadvisor", 9100): {"metrics": "/metrics", "first page": "/"},
    ("backup", 9101): {"metrics": "/metrics", "status": "/status", "health": "/health"},
}  # fmt: skip
WHOLE = {
    ("prometheus", 9090): {"nginx", "grafana"}, ("alertmanager", 9093): {"nginx", "prometheus"},
    ("cadvisor", 8080): {"prometheus"}, ("cadvisor", 9100): {"prometheus"}, ("backup", 9101): {"prometheus"},
}  # fmt: skip
HIDDEN_WAY = "insert by a hidden way"
"""It is served as the query that it is read as, and not as the insert that it looks like."""
SERVED = {
    *(("nginx", ("logs", 9428), kind) for kind in ("query", "tail", "health", "pages", HIDDEN_WAY)),
    ("prometheus", ("logs", 9428), "metrics"),
    # Nothing is reloaded over the network: Prometheus' lifecycle API is off.
    *((client, at, kind) for at, clients in WHOLE.items() for client in clients for kind in PATHS[at] if kind != "reload"),
}
"""(client, listener, kind of path)."""


@pytest.fixture(scope="module")
def places(project: Project) -> dict[str, Place]:
    return places_of(project, inspected_containers(project.host))


def ways(project: Project, places: dict[str, Place], source: str, at: tuple[str, int]) -> Iterator[Connection]:
    """To every address of the listener's container, also on networks that the source is not on."""
    target, port = at
    if place(project.stack, source) != place(project.stack, target):
        for network, where in addresses(project.stack, places, target).items():
            yield Connection(source, target, network, where, port)


def answered(project: Project, place_of: Place, way: Connection, path: str, shows: str) -> int:
    method, _, rest = path.rpartition(" ")
    return ask(project.state, place_of.pid, way, way.target, rest, shows, method or "GET")


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "edge"])
def test_container_is_served_what_is_declared_for_it(project: Project, places: dict[str, Place], service: str) -> None:
    source = next((slot for slot in project.stack.services[service].slots() if slot in places), None)
    if source is None:
        assert project.stack.services[service].optional
        return
    served, tried = set(), 0
    for at, paths in PATHS.items():
        for way in ways(project, places, source, at):
            for kind, path in paths.items() if can_connect(places[source], way) else ():
                for shows in ("", service):
                    tried += 1
                    status = answered(project, places[source], way, path, shows)
                    if status not in (0, 400, 401, 403):
                        served.add((service if shows else "nobody", at, kind))
    assert served == {one for one in SERVED if one[0] == service}, f"of {tried} requests"


def can_connect(source: Place, way: Connection) -> bool:
    try:
        with network_of(source.pid), socket.create_connection((way.address, way.port), 0.4):
            return True
    except OSError:
        return False


def test_every_listener_that_names_clients_is_tried(project: Project) -> None:
    assert {(one.service, one.port) for one in read_listeners(project) if one.clients} == set(PATHS)


def test_refused_request_is_written_down(project: Project, places: dict[str, Place]) -> None:
    way = next(ways(project, places, "cadvisor", ("logs", 9428)))
    assert answered(project, places["cadvisor"], way, QUERY, "cadvisor") == 403
    own = places["cadvisor"].addresses["monitoring"]

    def missing() -> str:
        lines = (project.state.logs / "logs.log").read_text(errors="replace").splitlines()
        found = any("access forbidden by rule" in line and own in line for line in lines[-200:])
        return "" if found else "no line of it in logs.log"

    eventually(missing, 5)
