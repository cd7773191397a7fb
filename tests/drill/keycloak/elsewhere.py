"""Addresses of other machines: nginx counts logins by address, and whoever uses the published ports comes from one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

from ops.core.process import run
from ops.keycloak.probe.browser import Browser, Named
from ops.project import Project
from ops.stack.render import address, network_name
from tests.drill.keycloak.logins import PATIENCE
from tests.drill.keycloak.wrong_logins import PORT
from tests.smoke.accounts import Login
from tests.smoke.live import Live


@contextmanager
def addresses(project: Project, number: int) -> Iterator[list[str]]:
    """So many addresses of this host on nginx' public network."""
    name = network_name(project.name, "web")
    inspected = project.host.run(("podman", "network", "inspect", name)).stdout
    interface = re.search(r'"network_interface": "(\w+)"', inspected)
    assert interface, inspected
    hosts = list(ip_network(project.allocation.subnets["web"]).hosts())[-number:]
    for host in hosts:
        run(("ip", "address", "add", f"{host}/32", "dev", interface[1]), timeout=10)
    try:
        yield list(map(str, hosts))
    finally:
        for host in hosts:
            run(("ip", "address", "del", f"{host}/32", "dev", interface[1]), timeout=10, ok=None)


class _From(Named):
    def __init__(self, name: str, source: str) -> None:
        self.source = source
        super().__init__(name)

    def init_poolmanager(self, *given: Any, **options: Any) -> None:
        super().init_poolmanager(*given, **options, source_address=(self.source, 0))


def login_from(live: Live, source: str) -> Login:
    """A login of somebody at one of these addresses."""
    browser = Browser(live.site.base, live.ca, PATIENCE)
    browser.base = f"https://{address(live.project.allocation, 'web', 'nginx')}:{PORT}"
    browser.session.mount("https://", _From(live.domain, source))
    login = Login(live)
    login.client = browser
    return login
