"""The live stack: as its users reach it, as its operator reaches it, and as the host sees its containers."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from requests.adapters import HTTPAdapter

from ops.core.machine import REPOSITORY
from ops.core.process import Result, until
from ops.engines.podman import argv as podman
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor.health import network_of
from ops.project import Project
from ops.stack.certificates import TLS
from ops.stack.compose import placeholders
from ops.stack.render import address
from ops.store.versions import secret_versions

TIMEOUT = 15.0


class Named(HTTPAdapter):
    """Connections to an address, verified against a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, server_hostname=self.name, assert_hostname=self.name)


@contextmanager
def leading_here(domain: str) -> Iterator[None]:
    """A public name leads to this host during the block, whatever DNS says."""
    asked = socket.getaddrinfo

    def here(host: Any, *rest: Any, **options: Any) -> Any:
        return asked("127.0.0.1" if host == domain else host, *rest, **options)

    with patch.object(socket, "getaddrinfo", here):
        yield


class Client:
    """HTTP against one address, with the project's own CA as the only one that is trusted. Follows no redirect by itself."""

    def __init__(self, base: str, ca: Path) -> None:
        self.base = base
        self._session = requests.Session()
        # Neither a proxy nor a CA bundle named by the environment may stand in the way.
        self._session.trust_env = False
        self._session.verify = str(ca)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"allow_redirects": False, "timeout": TIMEOUT, **options}
        return self._session.request(method, path if "://" in path else self.base + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self("GET", path, **options)

    def json(self, path: str, **options: Any) -> Any:
        """The answer to a GET that has to succeed."""
        answer = self.get(path, **options)
        assert answer.status_code == 200, f"{self.base}{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()


@dataclass(frozen=True)
class Live:
    """One project, running."""

    project: Project

    @cached_property
    def ca(self) -> Path:
        return self.project.state.ca / "root.pem"

    @cached_property
    def _values(self) -> dict[str, str]:
        return placeholders(self.project.settings, self.project.ports)

    @property
    def domain(self) -> str:
        return self.project.settings.domain

    @property
    def ports(self) -> dict[str, int]:
        return self.project.ports

    @cached_property
    def site(self) -> Client:
        return Client(self._values["CC03_PUBLIC_URL"], self.ca)

    @cached_property
    def ops(self) -> Client:
        return Client(self._values["CC03_OPS_URL"], self.ca)

    @cached_property
    def plain(self) -> Client:
        return Client(f"http://{self.domain}:{self.ports['http']}", self.ca)

    @cached_property
    def containers(self) -> Mapping[str, Mapping[str, Any]]:
        """Slot -> what `podman container inspect` says, for every container that runs."""
        found = inspected_containers(self.project.host)
        return {slot: item for slot, item in found.items() if item["State"]["Status"] == "running"}

    def container(self, slot: str) -> Mapping[str, Any]:
        assert slot in self.containers, f"{slot} does not run: inv status"
        return self.containers[slot]

    def slots(self, service: str) -> list[str]:
        """The running containers of one service."""
        names = self.project.stack.services[service].slots()
        assert set(names) <= set(self.containers), f"{service} does not run: inv status"
        return list(names)

    @property
    def has_grafana(self) -> bool:
        return "grafana" in self.containers

    def pid(self, slot: str) -> int:
        """The main process of a container."""
        return int(self.container(slot)["State"]["Pid"])

    @contextmanager
    def network(self, slot: str) -> Iterator[None]:
        """Within the block, connections are opened from inside a container's network."""
        with network_of(self.pid(slot)):
            yield

    def inside(self, slot: str, port: int, path: str, **options: Any) -> requests.Response:
        """GET on a port of a container, as the container itself would ask."""
        service = self.project.stack.service_of(slot)
        allocation = self.project.deployed.allocation
        where = (
            address(allocation, service.listen_network, service.address_name(slot)) if service.listen_network else "127.0.0.1"
        )
        with requests.Session() as session, self.network(slot):
            session.trust_env = False
            session.verify = str(self.ca)
            session.cert = str(self.project.state.certs / service.name / TLS)
            # Certificates are for names, and the addresses of containers have none here.
            session.mount(f"https://{where}:", Named(service.name))
            return session.get(f"https://{where}:{port}{path}", timeout=TIMEOUT, allow_redirects=False, **options)

    def exec(self, slot: str, *argv: str, ok: tuple[int, ...] | None = (0,)) -> Result:
        name = str(self.container(slot)["Name"])
        return self.project.host.run(podman.exec_in(name, argv), ok=ok)

    def inv(self, *arguments: str) -> Result:
        """A command of the operator, as a script runs it: without a terminal."""
        argv = (sys.executable, "-m", "invoke", "--search-root", str(REPOSITORY), *arguments)
        return self.project.host.run(argv, ok=None, timeout=90)

    def secret(self, name: str) -> str:
        folder = self.project.state.secrets / name
        version = secret_versions(self.project.state).get(name)
        assert version is not None, f"there is no secret {name} in {folder}"
        return (folder / str(version)).read_text().strip()

    # ---- Monitoring, by the operator's pages

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Prometheus' instant vector: each element has `metric` (labels) and `value`."""
        answer = self.ops.json("/prometheus/api/v1/query", params={"query": expression})
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def number(self, expression: str) -> float:
        """The single value of a query; 0 where there is no series yet."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0

    def measures(self, expression: str) -> None:
        """Fail unless a query finds a series that is 1 (true), by the next scrape at the latest."""
        eventually(lambda: "" if self.number(expression) == 1 else f"{expression} is {self.query(expression)}", SCRAPED_WITHIN)

    def log_lines(self, query: str, limit: int = 200) -> list[dict[str, str]]:
        """What the log store finds (LogsQL)."""
        answer = self.ops.get("/logs/select/logsql/query", params={"query": query, "limit": str(limit)})
        assert answer.status_code == 200, f"{query}: {answer.status_code} {answer.text[:300]}"
        return [json.loads(line) for line in answer.text.splitlines()]


SCRAPED_WITHIN = 120.0
"""Seconds until Prometheus knows what is so now: it asks every 30 s, and cAdvisor itself looks at a new container every 30 s,
which it stretches up to twofold."""


def eventually(reason: Callable[[], object], deadline: float) -> None:
    """Fail with the last reason, unless it becomes empty within the deadline (seconds)."""
    assert not (last := until(lambda: str(reason() or ""), deadline, longest_pause=0.5)), f"after {deadline:.0f} s: {last}"
