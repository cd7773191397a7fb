"""config/stack.yaml -> Settings. Unknown keys, wrong types and impossible combinations are refused with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, PrivateAttr, ValidationError

from ops.core.errors import UsageProblem, did_you_mean
from ops.stack import issuers
from ops.stack.alert_receivers import Alerts
from ops.stack.cluster_settings import Engine
from ops.stack.issuers import Issuer, IssuerKeys, Issuers
from ops.stack.model import MAX_REPLICAS
from ops.stack.repositories import Repositories, Repository, RepositoryKeys
from ops.stack.value_types import (
    Age,
    Cores,
    DiskSize,
    Duration,
    Email,
    Folder,
    HostName,
    Memory,
    Networks,
    Program,
    Time,
    UrlPath,
)
from ops.stack.yaml_model import Form, Keys, parse_yaml, read, refusal

ServiceName = Literal[
    "postgres", "redis", "keycloak", "backend", "frontend", "nginx",
    "prometheus", "alertmanager", "cadvisor", "logs", "backup", "grafana",
]  # fmt: skip
ComponentName = Literal[ServiceName, "edge"]
SERVICES: tuple[str, ...] = get_args(ServiceName)
HOST = "host"
"""Label `service` of alerts about the host."""
PARTS = ("edge",)
"""What compose.yaml has besides: a container that is a part of one of these services, with limits of its own."""
REFERENCE = "docs/reference/settings.md"

ProjectName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$"), Form("lower-case letters, digits and dashes, at most 20")
]  # fmt: skip


class Ports(Keys):
    http: int = Field(default=80, ge=1, le=65535, description="Published port that redirects to HTTPS.")
    https: int = Field(default=443, ge=1, le=65535, description="Published port of the site.")
    ops: int = Field(
        default=9443, ge=1, le=65535, description="Port of the monitoring and administration pages, on 127.0.0.1 only.",
    )  # fmt: skip
    proxy_protocol: int = Field(
        default=0, ge=0, le=65535,
        description="Published port of the site for load balancers that pass on TCP with the PROXY protocol; 0: none.",
    )  # fmt: skip

    @property
    def published(self) -> dict[str, int]:
        """Key -> port of the host, without those that are turned off."""
        return {name: port for name, port in self if port}


class LoadBalancer(Keys):
    addresses: Networks = Field(
        default=(),
        description="Load balancers in front of this host, whose `X-Forwarded-For` or PROXY protocol names the client "
        "(docs/how-to/load-balancer.md). Without them every client behind one counts as the same address.",
    )  # fmt: skip


class Releases(Keys):
    keep: int = Field(
        default=10, ge=5, le=1000,
        description="Releases that are kept, with every image that they need; what a rollback needs is never removed.",
    )  # fmt: skip


class Deploy(Keys):
    settle: int = Field(
        default=5, ge=0, le=300,
        description="Seconds that the first container of a new release must have run without fault before an old one is "
        "touched.",
    )  # fmt: skip
    failed_requests: int = Field(
        default=0, ge=0, le=1_000_000, description="Failed requests after which a deploy reverts to the previous release.",
    )  # fmt: skip


class Build(Keys):
    backend: Folder = Field(
        default="compose/backend", description="Build context of the backend, relative to the repository or absolute.",
    )  # fmt: skip
    frontend: Folder = Field(
        default="compose/frontend", description="Build context of the frontend, relative to the repository or absolute.",
    )  # fmt: skip


class Limit(Keys):
    memory: Memory | None = Field(default=None, description="Memory ceiling of each container of that service.")
    cpus: Cores | None = Field(default=None, description="CPU ceiling, in cores, of each container of that service.")


class Deadlines(Keys):
    build: int = Field(default=1200, ge=60, le=7200, description="Seconds that one image may take to build.")
    start: dict[ComponentName, Annotated[int, Field(ge=5, le=3600)]] = Field(
        default={},
        description="Seconds that a container of that service may take until healthy, where compose.yaml's figure does "
        "not fit.",
    )  # fmt: skip


class Prober(Keys):
    rate: int = Field(
        default=20, ge=0, le=500,
        description="Requests a second that the prober sends through every deploy, as its users would; 0: no prober.",
    )  # fmt: skip
    get: UrlPath = Field(
        default="/api/v1/probe",
        description="What the prober reads; empty leaves it out. A new backend must answer it through nginx before an old "
        "one is touched; where build.backend is another folder and this is not set, or empty, its ready path.",
    )  # fmt: skip
    post: UrlPath = Field(
        default="/api/v1/probe",
        description="What it writes to, every fifth request, each with an Idempotency-Key of its own; empty leaves it "
        "out.",
    )  # fmt: skip
    websocket: UrlPath = Field(
        default="/api/v1/probe/ws",
        description="WebSocket that it holds open and writes to once a second; it must echo. Empty leaves it out.",
    )  # fmt: skip
    download: UrlPath = Field(
        default="/api/v1/probe/slow?seconds=2", description="Slow download that it always has one of; empty leaves it out.",
    )  # fmt: skip


class Backup(Keys):
    full_at: Time = Field(default="02:30", description="When a full set is made (UTC); a missed one is made at once.")
    full_every: Duration = Field(default="1d", description="How often: at that time of each day, or of each 7th with 7d.")
    diff_every: Duration = Field(default="6h", description="How often a set of what changed since the last full one is made.")
    incr_every: Duration = Field(default="1h", description="How often a set of what changed since the last one is made.")
    drill_at: Time = Field(
        default="04:00",
        description="When the newest set is restored, started, read to its end and compared with its manifest (UTC).",
    )  # fmt: skip
    keep: int = Field(
        default=7, ge=1, le=1000,
        description="Full sets that are kept in the local repository, with all sets and all WAL between them.",
    )  # fmt: skip
    synchronous: bool = Field(
        default=False,
        description="Whether a commit is acknowledged only once the backup container has it too: nothing that was "
        "acknowledged is lost with the disk of PostgreSQL, and every commit waits while that container is "
        "away.",
    )  # fmt: skip
    repositories: Repositories = Field(
        default=(),
        description="More places for backups: folders on other disks, S3, SFTP (docs/how-to/backup.md, Somewhere else). "
        "Credentials are not among the settings: `inv backup.credentials`.",
    )  # fmt: skip


class Acme(Keys):
    issuers: Issuers = Field(
        default=(),
        description="Authorities that issue the certificate for the public name by ACME, the first choice first; the next "
        "one is asked where one does not issue. Empty: `inv certs.acme` is not used "
        "(docs/how-to/certificates.md).",
    )  # fmt: skip
    email: Email = Field(
        default="", description="Address that an issuer may write to; part of the account from when it is opened.",
    )  # fmt: skip
    challenge: Literal["http-01", "dns-01"] = Field(
        default="http-01",
        description="How an issuer sees that the name is yours: by a file that nginx serves on port 80, or by a record in "
        "the DNS.",
    )  # fmt: skip
    hook: Program = Field(
        default="",
        description="With dns-01: the program that sets and removes the record (docs/how-to/certificates.md, By the DNS).",
    )  # fmt: skip


class Certificates(Keys):
    acme: Acme = Acme()


class Pages(Keys):
    public: bool = Field(
        default=True,
        description="Whether operators reach the monitoring pages under the public name, at `/ops/`, behind a login with the "
        "realm role `operator`. Otherwise they are on the loopback address of the host only (docs/how-to/pages.md).",
    )  # fmt: skip


class Retention(Keys):
    metrics: Age = Field(default="15d", description="How long Prometheus keeps metrics.")
    metrics_size: DiskSize = Field(
        default="4g",
        description="Disk space that metrics may take; beyond it Prometheus removes the oldest ones, however young they "
        "are, and the alert RetentionCutBySize fires.",
    )  # fmt: skip
    logs: Age = Field(default="14d", description="How long the log store keeps lines.")
    logs_size: DiskSize = Field(default="5g", description="The same for log lines, of which the two newest days always stay.")


class Hooks(Keys):
    seconds: int = Field(default=60, ge=1, le=3600, description="Seconds that one hook in config/hooks/ may take.")


class Logs(Keys):
    max_size_mb: int = Field(
        default=20, ge=1, le=10240, description="Size at which one container's own log file starts afresh.",
    )  # fmt: skip


class Traces(Keys):
    sample: int = Field(
        default=10, ge=0, le=100,
        description="Percentage of requests for the API and for logins of which the services record how long each step took "
        "(docs/how-to/traces.md).",
    )  # fmt: skip


class Settings(Keys):
    """The operator's choices, checked."""

    project: ProjectName = Field(
        default="cc03", description="Name that keeps two stacks on one host apart. The variable CC03_PROJECT overrides it.",
    )  # fmt: skip
    domain: HostName = Field(
        default="localhost", description="Host name of the public site; certificates, redirects and logins are made for it.",
    )  # fmt: skip
    engine: Engine = Engine()
    ports: Ports = Ports()
    load_balancer: LoadBalancer = LoadBalancer()
    replicas: dict[ComponentName, Annotated[int, Field(ge=1, le=MAX_REPLICAS)]] = Field(
        default={},
        description="Containers of that service behind nginx, for services to which compose.yaml gives replicas (backend: "
        "2, frontend: 1). What `inv scale` said since this file was last changed wins.",
    )  # fmt: skip
    releases: Releases = Releases()
    deploy: Deploy = Deploy()
    build: Build = Build()
    limits: dict[ComponentName, Limit] = {}
    deadlines: Deadlines = Deadlines()
    prober: Prober = Prober()
    backup: Backup = Backup()
    certificates: Certificates = Certificates()
    alerts: Alerts = Alerts()
    pages: Pages = Pages()
    retention: Retention = Retention()
    hooks: Hooks = Hooks()
    logs: Logs = Logs()
    traces: Traces = Traces()
    _source: Path = PrivateAttr(Path("config/stack.yaml"))
    _own_project: bool = PrivateAttr(True)

    @property
    def source(self) -> Path:
        return self._source

    @property
    def own_project(self) -> bool:
        """Whether the file itself is about this project; False where CC03_PROJECT names another one."""
        return self._own_project

    def limit(self, service: str) -> Limit:
        return self.limits.get(cast(ComponentName, service), Limit())

    def start_seconds(self, service: str) -> int | None:
        return self.deadlines.start.get(cast(ComponentName, service))

    def replicas_of(self, service: str) -> int | None:
        return self.replicas.get(cast(ComponentName, service))

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """Those besides the local one, in the order by which pgBackRest numbers them from 2 on."""
        return tuple(one.repository for one in self.backup.repositories)

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """Issuers of the public certificate, the first choice first."""
        return tuple(one.issuer for one in self.certificates.acme.issuers)

    def given(self) -> dict[str, Any]:
        """What the file sets, key by key, as JSON: a release keeps it."""
        return dict(_given(self, ""))


def _given(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Keys):
        for name in type(value).model_fields:
            if name in value.model_fields_set:
                yield from _given(getattr(value, name), f"{key}.{name}".removeprefix("."))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _given(one, f"{key}.{name}")
    else:
        yield key, [_plain(one) for one in value] if isinstance(value, tuple) else value


def _plain(one: Any) -> Any:
    if isinstance(one, RepositoryKeys):
        return dict(vars(one.repository))
    if isinstance(one, IssuerKeys):
        return dict(vars(one.issuer))
    return one.model_dump(mode="json", exclude_unset=True) if isinstance(one, Keys) else one


def parse_settings(text: str, source: Path, project: str | None = None) -> Settings:
    """Read stack.yaml.

    text: the file's content. source: its path, for messages.
    project: what CC03_PROJECT says; it wins over the file.
    Raises UsageProblem with file, line and a suggestion for whatever cannot be meant.
    """
    settings = read(Settings, parse_yaml(text, str(source)), REFERENCE)
    own = project in (None, settings.project)
    if project is not None:
        settings = settings.model_copy(update={"project": _project(project)})
    settings._source, settings._own_project = source, own
    _refuse_contradictions(settings)
    return settings


def _project(name: str) -> str:
    try:
        return Settings(project=name).project
    except ValidationError as problem:
        must = refusal(Settings, problem).removeprefix("project: ")
        raise UsageProblem(
            f"CC03_PROJECT is {name!r}", f"it must be {must}", "export CC03_PROJECT=NAME, or unset CC03_PROJECT"
        ) from problem


KEYCLOAK_MINIMUM = 1250 << 20
"""Keycloak's sizing guide: 1250 MB of base memory for one instance."""


def _refuse_contradictions(settings: Settings) -> None:
    ports: dict[int, str] = {}
    for name, port in settings.ports.published.items():
        if port in ports:
            raise UsageProblem(
                f"{settings.source}: ports.{ports[port]} and ports.{name} are both {port}",
                "one port of the host can serve one of them only",
                f"give ports.{name} another number",
            )
        ports[port] = name
    if settings.ports.proxy_protocol and not settings.load_balancer.addresses:
        raise UsageProblem(
            f"{settings.source}: ports.proxy_protocol is set, and load_balancer.addresses is empty",
            "no client address would be trusted, and all users behind the load balancer would count as one",
            "load_balancer.addresses: the addresses from which it connects (docs/how-to/load-balancer.md)",
        )
    if settings.certificates.acme.challenge == issuers.DNS and not settings.certificates.acme.hook:
        raise UsageProblem(
            f"{settings.source}: certificates.acme.challenge is {issuers.DNS}, and there is no hook",
            "somebody has to set the record in the DNS, and every provider has another way",
            "certificates.acme.hook: the path of a program that does (docs/how-to/certificates.md, By the DNS)",
        )
    known = (*SERVICES, HOST)
    for name, service in ((one.name, service) for one in settings.alerts.receivers for service in one.services):
        if service not in known:
            raise UsageProblem(
                f"{settings.source}: the receiver {name} of alerts wants those of {service}", did_you_mean(service, known),
                f"correct alerts.receivers in {settings.source}",
            )  # fmt: skip
    memory = settings.limit("keycloak").memory
    if memory is not None and memory < KEYCLOAK_MINIMUM:
        raise UsageProblem(
            f"{settings.source}: limits.keycloak.memory is {memory >> 20} MB",
            "Keycloak needs 1250 MB and is killed by the kernel under load with less",
            "set limits.keycloak.memory to 1250m or more (default 2g)",
        )
