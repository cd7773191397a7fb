"""The containers that a trial needs, on an internal network of its own: the application, PostgreSQL, Redis, a realm's keys.

Nothing of a project is used but its images. All of it is removed when the trial ends; what a killed one left, by the next.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from ops.certificates.authority import issue_certificate
from ops.core import files
from ops.core.errors import OpsError
from ops.core.lock import alone
from ops.core.process import Result, until
from ops.core.state import State
from ops.engines.engine import Engine, OneOff, Trial
from ops.project import Project
from ops.stack.certificates import TLS
from ops.stack.contract import BACKEND
from ops.stack.model import Container
from ops.stack.render import MIGRATE_SUFFIX

NAME = "cc03-app-check"
NEIGHBOURS = ("postgres", "redis")
DATA = {"postgres": "/var/lib/postgresql", "redis": "/var/lib/redis"}
"""Where they keep their data."""
KEYCLOAK = "keycloak"
HOST_PARTS = {"app": 10, "postgres": 20, "redis": 30}
KEYCLOAK_PORT = 8443
START_SECONDS = 60.0
RUN_SECONDS = 120.0
EXEC_SECONDS = 30.0
ANOTHER_TRIAL_SECONDS = 120.0


def _number(value: int) -> str:
    content = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def key_set() -> bytes:
    """A JSON Web Key Set (RFC 7517) with one key that nothing is signed with."""
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    key = {"kid": "trial", "kty": "RSA", "alg": "RS256", "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)}
    return json.dumps({"keys": [key]}).encode()


@contextmanager
def realm_keys(listening: socket.socket, certificates: Path) -> Iterator[None]:
    """Serve them while the block runs. certificates: folder with the certificate to show."""
    content = key_set()

    class Keys(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / TLS)
    server = ThreadingHTTPServer(listening.getsockname(), Keys, bind_and_activate=False)
    server.socket.close()
    server.socket = context.wrap_socket(listening, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Stage:
    """Where an application is tried. `part`: backend or frontend."""

    project: Project
    engine: Engine
    part: str
    release: Mapping[str, Any]
    folder: Path
    subnet: str

    @property
    def state(self) -> State:
        return State(self.folder / "state")

    @property
    def roots(self) -> Path:
        return self.state.ca / "root.pem"

    def address(self, who: str) -> str:
        return str(ip_network(self.subnet)[HOST_PARTS[who]])

    @property
    def _neighbours(self) -> tuple[str, ...]:
        return NEIGHBOURS if self.part == BACKEND else ()

    @property
    def hosts(self) -> dict[str, str]:
        """Names that the application finds in /etc/hosts. The realm's keys are served from where PostgreSQL is."""
        found = {name: self.address(name) for name in self._neighbours}
        return {**found, KEYCLOAK: found["postgres"]} if found else {}

    def definition(self, service: str) -> Mapping[str, Any]:
        """A service's container in the release that the checkout describes."""
        return dict(self.release["services"].get(f"{service}-surge") or self.release["services"][service])

    def issue(self, service: str) -> None:
        """A certificate for a service, in the place of the one before."""
        stack = self.project.stack.services
        issue_certificate(self.state, NAME, service, stack[service].owner, (service, "localhost", "127.0.0.1"))

    def volumes(self, service: str, definition: Mapping[str, Any]) -> list[str]:
        """Certificates, secrets and configuration, mounted where a deploy mounts them."""
        owner = self.project.stack.services[service].owner
        found = [f"{self.state.certs / service}:/etc/tls:ro"]
        for secret in definition.get("secrets", ()):
            path = self.folder / "secrets" / str(owner) / secret["source"]
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write(path, self._value(secret["source"]), mode=0o400, owner=owner)
            found.append(f"{path}:/run/secrets/{secret['target']}:ro")
        if self.project.stack.services[service].has_config:
            found.append(f"{self._config(service)}:/etc/cc03:ro")
        if service in DATA:
            folder = self.folder / "data" / service
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            os.chown(folder, owner, owner)
            found.append(f"{folder}:{DATA[service]}")
        return found

    def _value(self, secret: str) -> str:
        """A secret is the same for all who have it."""
        known = self.folder / "values" / secret
        if not known.exists():
            known.parent.mkdir(exist_ok=True)
            files.write(known, secrets.token_hex(16) + "\n", mode=0o600)
        return known.read_text()

    def _config(self, service: str) -> Path:
        folder = self.folder / "config" / service
        if not folder.exists():
            for path, text in self.project.config()[service].items():
                (folder / "current" / path).parent.mkdir(parents=True, exist_ok=True)
                files.write(folder / "current" / path, text)
        return folder

    def _run(
        self, who: str, service: str, command: Sequence[str] = (), *, slot: str = "", detached: bool = True
    ) -> Result:  # fmt: skip
        definition = self.definition(slot or service)
        trial = Trial(
            definition, self.address(who) if detached else "", hosts=self.hosts, volumes=self.volumes(service, definition),
            command=command, detached=detached,
        )  # fmt: skip
        return self.engine.run_trial(who, trial, timeout=RUN_SECONDS, ok=(0,) if detached else None)

    def start(self) -> None:
        """Start the application's own container."""
        self._run("app", self.part)

    def migrate(self, *options: str) -> Result:
        """The entry point with `migrate`, to its end: with the account that a deploy has it log in with."""
        return self._run("once", self.part, ("migrate", *options), slot=self.part + MIGRATE_SUFFIX, detached=False)

    def run_with(self, program: str, *arguments: str) -> Result:
        """Another program of the image, with nothing mounted and no network."""
        argv = (program, *arguments)
        user = str(self.definition(self.part)["user"])
        return self.engine.run(OneOff(str(self.definition(self.part)["image"]), argv, user=user), ok=None)

    def container(self, who: str = "app") -> Container:
        return self.engine.containers()[who]

    def exec(self, *argv: str, seconds: float = EXEC_SECONDS) -> Result:
        return self.engine.exec("app", argv, timeout=seconds, ok=None)

    def said(self, who: str = "app") -> list[str]:
        """Lines of a container so far, on both of its streams."""
        return [line.text for line in self.engine.logs(lambda log: log == who)]

    def _wait_for(self, who: str) -> None:
        def reason() -> str:
            answer = self.engine.exec(who, ("/usr/local/bin/healthy",), ok=None)
            return answer.last_words() if answer.returncode else ""

        if why := until(reason, START_SECONDS, longest_pause=0.4):
            what = f"{who} of the trial is not healthy after {START_SECONDS:.0f} s"
            raise OpsError(what, why, "inv doctor, then the same command", [line[:200] for line in self.said(who)[-8:]])

    def neighbours(self, held: ExitStack, report: Callable[[str], None]) -> None:
        """Start what a backend talks to, and wait until it answers."""
        if not self._neighbours:
            return
        report("PostgreSQL and Redis start")
        for name in self._neighbours:
            self._run(name, name)
        self.issue(KEYCLOAK)
        listening = self.engine.listen("postgres", self.address("postgres"), KEYCLOAK_PORT)
        held.enter_context(realm_keys(listening, self.state.certs / KEYCLOAK))
        for name in self._neighbours:
            self._wait_for(name)


@contextmanager
def stage(project: Project, part: str, report: Callable[[str], None]) -> Iterator[Stage]:
    """Everything but the application itself, for as long as the block runs.

    project: whose settings name the application's folder; its images are there. part: which of the two is tried.
    """
    lock = project.state.root.parent / f".{NAME}"
    with ExitStack() as held:
        held.enter_context(alone(lock, ANOTHER_TRIAL_SECONDS))
        folder = Path(held.enter_context(TemporaryDirectory(prefix=f"{NAME}-")))
        folder.chmod(0o755)
        scratch = State(folder / "state")
        scratch.prepare()
        scratch.root.chmod(0o755)
        engine = project.engine.for_trials(NAME, scratch)
        held.callback(engine.close_trials)
        release = project.wanted({}, frozenset()).compose
        found = Stage(project, engine, part, release, folder, engine.open_trials())
        for service in (part, *found._neighbours):
            found.issue(service)
        found.neighbours(held, report)
        yield found
