"""All the facts of a diagnosis, read side by side. What cannot be read in time is left out, with the reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ops.core.errors import OpsError
from ops.core.journal import under_way
from ops.core.site import LOOPBACK
from ops.engines.postgres import login_problem
from ops.host.preflight import free_bytes
from ops.keycloak import admin
from ops.keycloak.failures.facts import ROLE, ContainerFacts, EdgeFacts, Facts, PostgresFacts
from ops.keycloak.failures.log import log_lines
from ops.keycloak.probe import container, database, edge
from ops.project import Project
from ops.stack.compose import placeholders

LOG_BYTES = 4 << 20
"""What is read of the log at most: a start writes 50 KB."""
READ_SECONDS = 4.5
"""For all reads together; each has a shorter deadline of its own, so that none outlives the command."""
BEFORE_SECONDS = 600.0
"""Of the log before the last start, where it does not run as it should: a crash loop tells its cause in the attempt before."""
OLD_SECONDS = 900.0
"""Of the log of a Keycloak that has long been running: nothing older counts."""

T = TypeVar("T")


@dataclass
class Reads:
    """Reads under way, and why some of them gave nothing."""

    pool: ThreadPoolExecutor
    ends: float
    unread: dict[str, str] = field(default_factory=dict)

    def start(self, read: Callable[..., T], *given: Any) -> Future[T]:
        return self.pool.submit(read, *given)

    def result(self, name: str, future: Future[T], otherwise: T) -> T:
        """What a read gave; `otherwise` where it failed or is late."""
        try:
            return future.result(max(0.0, self.ends - time.monotonic()))
        except TimeoutError:
            self.unread[name] = f"no answer within {READ_SECONDS:.1f} s"
        except OpsError as problem:
            self.unread[name] = f"{problem.what}: {problem.why}"
        except Exception as problem:
            # One that nobody foresaw costs this one fact, not the diagnosis.
            self.unread[name] = f"{type(problem).__name__}: {problem}"
        return otherwise


@dataclass(frozen=True)
class Place:
    """Where things are in one project. found: slot -> what Podman says of its container."""

    project: Project
    found: Mapping[str, Mapping[str, Any]]
    ops_url: str = ""

    def state(self, slot: str) -> str:
        item = self.found.get(slot)
        return container.state(item) if item else "missing"


def look(project: Project) -> Facts:
    """Everything that a diagnosis is decided from. Raises HostLacks or OpsError where Podman itself cannot be asked."""
    ends = time.monotonic() + READ_SECONDS
    ops_url = placeholders(project.settings, project.ports)["CC03_OPS_URL"]
    place = Place(project, container.inspected(project), ops_url)
    pool = ThreadPoolExecutor(max_workers=8)
    try:
        return _look(place, Reads(pool, ends))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _look(place: Place, reads: Reads) -> Facts:
    project = place.project
    item = place.found.get(container.SLOT)
    service = project.deployed.stack.services[container.SLOT]
    current = project.state.config / container.SLOT / "current"
    sealed = project.state.current / "config" / container.SLOT
    versions = {name: project.deployed.versions.get(name, 1) for name in service.secrets if name not in service.late_secrets}

    stale = container.stale_secrets(item, project.state, versions) if item else ()
    empty = container.empty_secrets(project.state, versions)
    state = reads.start(container.container_facts, item, float(service.start_seconds), stale, empty)
    ended = reads.start(container.last_exit, project.host, item)
    server = reads.start(container.server_facts, item, current, sealed)
    log = reads.start(lambda: tuple(project.engine.logs(lambda log: log == container.SLOT, LOG_BYTES)))
    postgres = reads.start(_postgres, place)
    login = reads.start(_login, place)
    public = project.public_url
    answers = _edge(place, reads, public)
    # Each of these is an answer of its own, and on a busy machine none of them waits for another.
    asked = _asked(place, reads, answers)
    seen, unread = reads.result("database", postgres, (PostgresFacts(), ""))
    if unread:
        reads.unread["database content"] = unread
    if seen.role and seen.database:
        seen = replace(seen, login=reads.result("login to the database", login, None))
    answers |= _administered(place, reads, asked, seen) if asked else {}
    facts = Facts(
        public_url=public, ops_url=place.ops_url, now=time.time(), nginx=place.state("nginx"), postgres=seen,
        edge=EdgeFacts(**answers), under_way=_another(project), disks=free_bytes(project),
        container=replace(
            reads.result("container", state, unread_container(place)),
            last_exit=reads.result("how it ended", ended, None),
        ),
        server=reads.result("image and options", server, container.server_facts(None, current, sealed)),
    )  # fmt: skip
    lines = reads.result("log", log, ())
    return replace(facts, log=tuple(log_lines(lines, _since(facts))), unread=reads.unread)


def unread_container(place: Place) -> ContainerFacts:
    """What is known of the container where it could not be read in time: whether Podman has it, and its state."""
    return ContainerFacts(status=place.state(container.SLOT), running_seconds=None, healthcheck="")


def _another(project: Project) -> str:
    """What another command is doing: a repair that looks at its own work is not on its way to anywhere."""
    operation = under_way(project.state)
    return operation.described(time.time()) if operation and operation.pid != os.getpid() else ""


def _since(facts: Facts) -> float:
    """From when on the log is read."""
    if facts.container.status == "missing":
        return facts.now
    started = facts.now - (facts.container.running_seconds or 0.0)
    # Its predecessor's complaints are not its own.
    made = facts.now - (facts.container.age_seconds or float("inf"))
    return max(started, facts.now - OLD_SECONDS) if facts.ready else max(started - BEFORE_SECONDS, made)


def _postgres(place: Place) -> tuple[PostgresFacts, str]:
    """PostgreSQL, and why part of it could not be seen."""
    state = place.state("postgres")
    if state != "running":
        return PostgresFacts(status=state, answers=False), ""
    return database.postgres_facts(place.project.engine)


def _login(place: Place) -> str | None:
    """Why PostgreSQL refuses the role with its present secret; None where there is nobody to ask."""
    if place.state("postgres") != "running":
        return None
    password = admin.secret(place.project, "postgres-keycloak")
    return login_problem(place.project.engine, ROLE, ROLE, password, database.ASK_SECONDS)


def _edge(place: Place, reads: Reads, url: str) -> edge.Fields:
    """What is asked over HTTP, as far as there is somebody to ask."""
    project = place.project
    public = project.state.certs / "nginx" / "public.pem"
    # One from elsewhere is a file of its own; else what people can read shows nginx' own.
    certificate = public if public.is_file() and not public.is_symlink() else public.with_name("cert.pem")
    asked: dict[str, Future[edge.Fields]] = {}
    if place.state(container.SLOT) == "running":
        address = min(container.addresses(place.found[container.SLOT]), default=LOOPBACK)
        asked["health"] = reads.start(edge.inside, project.engine, address, project.state.ca / "root.pem")
    if place.state("nginx") == "running":
        asked["public site"] = reads.start(edge.public, url, project.state.site_roots, certificate)
    answers = edge.Fields(certificate_elsewhere=certificate == public)
    for name, future in asked.items():
        fields: edge.Fields = reads.result(name, future, {})
        answers.update(fields)
    if said := answers.pop("metrics_said", ""):
        reads.unread["metrics (connections to the database)"] = said
    return answers


def _asked(place: Place, reads: Reads, answers: edge.Fields) -> Future[tuple[edge.Fields, str]] | None:
    """The operations client's token: only a Keycloak that is ready, behind an nginx that runs, is asked for it."""
    if answers.get("ready") != 200 or place.state("nginx") != "running":
        return None
    ca, url = place.project.state.site_roots, place.ops_url
    return reads.start(lambda: edge.admin(url, ca, admin.secret(place.project, "keycloak-ops")))


def _administered(place: Place, reads: Reads, asked: Future[tuple[edge.Fields, str]], postgres: PostgresFacts) -> edge.Fields:
    """What the operations client is answered, and which of those whose logins failed are locked."""
    answers, token = reads.result("operations client", asked, ({}, ""))
    if answers.get("admin") == 0:
        reads.unread["operations client (Keycloak's clock, locked users)"] = answers["admin_said"]
    suspects = postgres.content.suspects if postgres.content else ()
    if not token or not suspects:
        return answers
    locked = reads.start(edge.locked, place.ops_url, place.project.state.site_roots, token, suspects)
    return {**answers, "locked": reads.result("locked users", locked, ())}
