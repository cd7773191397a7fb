"""Who is served by a listener is said once, in listeners.yaml; each program's own list is that one."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import pytest
import yaml

from ops.core.machine import REPOSITORY

DECLARED = yaml.safe_load((REPOSITORY / "config" / "audit" / "listeners.yaml").read_text())


def of_web_yml(file: str) -> set[str]:
    tls = yaml.safe_load((REPOSITORY / file).read_text())["tls_server_config"]
    assert (tls["client_auth_type"], tls["client_ca_file"]) == ("RequireAndVerifyClientCert", "/etc/tls/ca.pem")
    return set(tls["client_allowed_sans"])


def of_cadvisor() -> set[str]:
    found = re.search(r"var clients = \[\]string\{(.+)\}", (REPOSITORY / "compose/cadvisor/src/main.go").read_text())
    assert found
    return set(re.findall(r'"([a-z]+)"', found[1]))


def of_backup() -> set[str]:
    found = re.search(r"CLIENTS = frozenset\((.+)\)", (REPOSITORY / "compose/backup/backup/server.py").read_text())
    assert found
    return set(ast.literal_eval(found[1]))


def of_log_store() -> set[str]:
    return set(re.findall(r'(?m)^ *"~\^SUCCESS CN=([a-z]+),O=CC03 ', (REPOSITORY / "compose/logs/proxy.conf").read_text()))


PROGRAMS: dict[tuple[str, int], Callable[[], set[str]]] = {
    ("prometheus", 9090): lambda: of_web_yml("config/prometheus/web.yml"),
    ("alertmanager", 9093): lambda: of_web_yml("config/alertmanager/web.yml"),
    ("cadvisor", 9100): lambda: of_web_yml("compose/cadvisor/web.yml"),
    ("cadvisor", 8080): of_cadvisor,
    ("backup", 9101): of_backup,
    ("logs", 9428): of_log_store,
}


@pytest.mark.parametrize("listener", PROGRAMS, ids=str)
def test_program_serves_the_clients_that_are_declared(listener: tuple[str, int]) -> None:
    service, port = listener
    assert PROGRAMS[listener]() == set(DECLARED[service][port]["clients"])


def test_no_listener_names_clients_beside_these() -> None:
    naming = {(service, port) for service, ports in DECLARED.items() for port, spec in ports.items() if "clients" in spec}
    assert naming == set(PROGRAMS)
