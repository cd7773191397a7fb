"""What is changed while the stack runs, past compose.yaml and past the commands, is found and named."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ops.certificates.authority import issue_certificate
from ops.core import files
from ops.core.process import alongside, run
from ops.core.state import State
from ops.engines import postgres
from ops.engines.podman import argv as podman
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.health import network_of
from ops.keycloak.admin import OPERATIONS
from ops.keycloak.realm.live import apply_realm, declared
from ops.project import Project
from ops.security_audit.probe.containers import by_namespace, pids_of
from ops.stack.certificates import TLS
from ops.stack.firewall_rules import table_name
from ops.stack.model import LABEL_PROJECT
from ops.stack.render import container_name, network_name
from tests.drill.walls.conftest import QUICK, audited, told, value_of

Act = Callable[[Project, Path], AbstractContextManager[None]]
NGINX, REALM = frozenset({"answers", "bursts", "handshakes"}), frozenset({"realm"})
SETTLES = 1.5
"""Seconds until nginx has taken up another configuration: it starts new workers beside the old ones."""


def pid(project: Project, slot: str) -> int:
    return int(inspected_containers(project.host)[slot]["State"]["Pid"])


# ---- Containers


def executed(*flags: str) -> Act:
    """A program that somebody starts in a running container."""

    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        argv = ("podman", "exec", *flags, container_name(project.name, "frontend-1"), "sleep", "60")
        with alongside(argv, log=folder / "exec.log", env=project.host.environment):
            time.sleep(1.0)
            yield
        # It outlives the one who has started it.
        for one in pids_of(pid(project, "frontend-1"), by_namespace()):
            if Path(f"/proc/{one}/cmdline").read_bytes().startswith(b"sleep\0"):
                os.kill(one, signal.SIGKILL)

    return act


def beside(network: str, *flags: str) -> Act:
    """A container that somebody starts by hand."""

    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        name = f"{project.name}-stranger" if flags else f"stranger-of-{project.name}"
        labels = [flag.replace("PROJECT", project.name) for flag in flags]
        argv = (
            "podman", "run", "--rm", "--detach", "--pull=never", "--name", name, *labels,
            "--network", network_name(project.name, network), "--entrypoint", "sleep", project.images["frontend"].tag, "300",
        )  # fmt: skip
        try:
            project.host.run(argv)
            yield
        finally:
            project.host.run(podman.remove(name), ok=None)

    return act


@contextmanager
def connected(project: Project, folder: Path) -> Iterator[None]:
    network, name = network_name(project.name, "data"), container_name(project.name, "frontend-1")
    project.host.run(("podman", "network", "connect", network, name))
    try:
        yield
    finally:
        project.host.run(("podman", "network", "disconnect", network, name))


@contextmanager
def listening(project: Project, folder: Path) -> Iterator[None]:
    with network_of(pid(project, "redis")):
        opened = socket.create_server(("", 4444))
    with opened:
        yield


@contextmanager
def unfiltered(project: Project, folder: Path) -> Iterator[None]:
    run(("nft", "delete", "table", "ip", table_name(project.name)), timeout=10)
    try:
        yield
    finally:
        firewall.ensure(project.state.root)


@contextmanager
def loosened(project: Project, folder: Path) -> Iterator[None]:
    run(("nft", "insert", "rule", "ip", table_name(project.name), "forward", "accept"), timeout=10)
    try:
        yield
    finally:
        firewall.ensure(project.state.root)


# ---- Files


def opened(part: str, mode: int = 0o644) -> Act:
    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        root = project.state.root
        path = root if part == "." else next(iter(sorted(one for one in root.glob(part) if one.is_file())))
        before = path.stat().st_mode & 0o7777
        path.chmod(mode)
        try:
            yield
        finally:
            path.chmod(before)

    return act


@contextmanager
def logged(project: Project, folder: Path) -> Iterator[None]:
    path = project.state.logs / "hooks.log.seeded"
    path.write_text(f"connecting with {value_of(project, 'postgres-app')}\n")
    try:
        yield
    finally:
        path.unlink()


def handed(secret: str) -> Act:
    """What an earlier version gave to the backup container."""

    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        path = project.state.backup / "seeded.tar"
        text = f"state/secrets {value_of(project, secret)}" if secret else "-----BEGIN EC PRIVATE KEY-----"
        path.write_text(text)
        try:
            yield
        finally:
            path.unlink()

    return act


@contextmanager
def owning(project: Project, folder: Path) -> Iterator[None]:
    """A table as an earlier release left it: it belongs to the role that the backend serves with."""
    postgres.query(project.engine, "app", "CREATE TABLE seeded (n int); ALTER TABLE seeded OWNER TO app")
    try:
        yield
    finally:
        postgres.query(project.engine, "app", "DROP TABLE seeded")


@contextmanager
def rewritten(project: Project, folder: Path) -> Iterator[None]:
    before = project.state.audit.read_bytes()
    project.state.audit.write_bytes(before.replace(b"deploy", b"reboot", 1))
    try:
        yield
    finally:
        project.state.audit.write_bytes(before)


# ---- nginx


def configured(file: str, old: str, new: str, service: str = "nginx") -> Act:
    """A service with one change of its configuration."""

    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        root = project.state.config / service
        before = (root / "current").readlink()
        changed = root / "seeded"
        shutil.copytree(root / before, changed)
        text = (changed / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (changed / file).write_text(text.replace(old, new))
        try:
            files.link(root / "current", "seeded")
            reload(project, service)
            yield
        finally:
            files.link(root / "current", str(before))
            reload(project, service)
            shutil.rmtree(changed)

    return act


def reload(project: Project, service: str) -> None:
    argv = project.stack.services[service].reload
    assert argv
    project.host.run(podman.exec_in(container_name(project.name, service), argv))
    time.sleep(SETTLES)


def foreign_certificate(service: str, owner: int) -> Act:
    """A certificate of an authority that nobody trusts, for the right name. nginx reads it anew at each handshake, the backup
    when it is told to, and nobody tells it."""

    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        other = State(folder / "state")
        other.prepare()
        issue_certificate(other, "another", service, owner, (service, "localhost", project.settings.domain))
        stored = project.state.certs / service / TLS
        before = stored.read_bytes()
        files.write(stored, (other.certs / service / TLS).read_bytes(), mode=0o600, owner=owner)
        try:
            yield
        finally:
            files.write(stored, before, mode=0o600, owner=owner)

    return act


# ---- The realm


def realm(**changes: object) -> Act:
    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        live = declared(project)
        live.ask(OPERATIONS, "PUT", live.declaration.name, changes)
        try:
            yield
        finally:
            apply_realm(declared(project), lambda said: None, deletions=False)

    return act


def client(**changes: object) -> Act:
    @contextmanager
    def act(project: Project, folder: Path) -> Iterator[None]:
        live = declared(project)
        live.read_raw()
        path = f"{live.declaration.name}/clients/{live.ids['client', 'cc03-frontend']}"
        before = live.ask(OPERATIONS, "GET", path).content
        live.ask(OPERATIONS, "PUT", path, {**before, **changes})
        try:
            yield
        finally:
            live.ask(OPERATIONS, "PUT", path, before)

    return act


CHANGES: dict[str, tuple[str, frozenset[str], Act]] = {
    "a root process": ("2.6", QUICK, executed("--user", "0")),
    "a privileged process": ("2.3", QUICK, executed("--privileged")),
    "a stranger on the databases' network": ("4.8", QUICK, beside("data")),
    "an undeclared container": ("2.2", QUICK, beside("web", "--label", f"{LABEL_PROJECT}=PROJECT")),
    "a network more": ("4.3", QUICK, connected),
    "a way to the databases": ("4.1", QUICK, connected),
    "IPv6 in a container": ("4.9", QUICK, beside("web", "--label", f"{LABEL_PROJECT}=PROJECT")),
    "no packet filter": ("4.10", QUICK, unfiltered),
    "a rule more in the packet filter": ("4.10", QUICK, loosened),
    "an open port": ("4.4", QUICK, listening),
    "alerts for every neighbour": ("4.11", frozenset({"client_requests"}), configured(
        "web.yml",
        "client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: /etc/tls/ca.pem\n  client_allowed_sans:",
        "client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: /etc/tls/ca.pem\n  # client_allowed_sans:",
        "alertmanager",
    )),
    "alerts for who has a certificate": ("4.11", frozenset({"client_requests"}), configured(
        "web.yml", "  client_allowed_sans:", "  # client_allowed_sans:", "alertmanager"
    )),
    "a table of the application's own": ("2.23", frozenset({"owned"}), owning),
    "a secret for everybody": ("3.4", QUICK, opened("secrets/redis-app/*")),
    "a key for everybody": ("3.4", QUICK, opened("ca/*.key")),
    "a secret handed over": ("3.5", QUICK, handed("redis-app")), "a private key handed over": ("3.5", QUICK, handed("")),
    "a secret in a log": ("3.3", QUICK, logged),
    "an open state folder": ("9.3", QUICK, opened(".", 0o755)),
    "a rewritten audit trail": ("9.1", QUICK, rewritten),
    "plain text among neighbours": ("5.1", NGINX, configured(
        "monitoring.conf", "listen 8081 ssl reuseport;", "listen 8081 reuseport;"
    )),
    "an old protocol": ("5.2", NGINX, configured(
        "tls.conf", "ssl_protocols TLSv1.2 TLSv1.3;\nssl_ciphers   ",
        "ssl_protocols TLSv1.1 TLSv1.2 TLSv1.3;\nssl_ciphers   @SECLEVEL=0:ECDHE-ECDSA-AES128-SHA:"
    )),
    "a weak cipher": ("5.4", NGINX, configured("tls.conf", "ssl_ciphers   ", "ssl_ciphers   ECDHE-ECDSA-AES128-SHA:")),
    "a foreign certificate": ("5.5", NGINX, foreign_certificate("nginx", 60701)),
    "a served certificate that is not the stored one": ("5.9", NGINX, foreign_certificate("backup", 60711)),
    "no HSTS": ("6.1", NGINX, configured("headers-common.inc", "add_header Strict-Transport-Security", "#")),
    "answers may be guessed at": ("6.2", NGINX, configured("headers-common.inc", "add_header X-Content-Type-Options", "#")),
    "the page in a frame": ("6.3", NGINX, configured("headers-app.inc", "; frame-ancestors 'none'", "")),
    "inline scripts": ("6.3", NGINX, configured("headers-app.inc", "default-src 'self'", "default-src 'self' 'unsafe-inline'")),
    "a version banner": ("6.4", NGINX, configured("nginx.conf", "server_tokens off;", "server_tokens on;")),
    "redirects to a forged host": ("6.5", NGINX, configured(
        "public.conf", "return 308 https://", "return 308 https://$http_host/?"
    )),
    "Keycloak's administration in public": ("6.6", NGINX, configured(
        "public.conf", "location /auth/resources/ {", "location /auth/ {"
    )),
    "metrics in public": ("6.7", NGINX, configured(
        "public.conf", "location = /grafana {",
        "location /prometheus/ { proxy_pass https://prometheus; include client-certificate.inc; }\n location = /grafana {",
    )),
    "operator's pages for neighbours": ("6.8", NGINX, configured("ops.conf", "if ($ops_allowed = 0)", "if ($ops_allowed = 2)")),
    "no limit of logins": ("6.14", NGINX, configured("public.conf", "limit_req  zone=login burst=20  nodelay;", "")),
    "no limit of the API": ("6.14", NGINX, configured("public.conf", "limit_req  zone=api burst=200 nodelay;", "")),
    "guessing is not slowed down": ("7.1", REALM, realm(bruteForceProtected=False)),
    "everybody may register": ("7.7", REALM, realm(registrationAllowed=True)),
    "short passwords": ("7.9", REALM, realm(passwordPolicy="length(4)")),
    "no TLS for logins": ("7.8", REALM, realm(sslRequired="none")),
    "a redirect with a wildcard": ("7.2", REALM, client(redirectUris=["https://*"])),
    "every web origin": ("7.3", REALM, client(webOrigins=["*"])),
    "the implicit flow": ("7.5", REALM, client(implicitFlowEnabled=True)),
    "passwords for a token": ("7.6", REALM, client(directAccessGrantsEnabled=True)),
}  # fmt: skip
"""What is done -> the control that has to find it, the parts that have to be looked at, and how it is done and undone."""


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_what_runs_is_found(project: Project, name: str, tmp_path: Path) -> None:
    number, parts, act = CHANGES[name]
    with act(project, tmp_path):
        report = audited(project, parts)

    assert number in {control.number for control, _ in report.findings}, told(report)
