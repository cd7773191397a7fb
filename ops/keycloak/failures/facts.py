"""What was seen of Keycloak and of what it depends on. None: it could not be seen, and `Facts.unread` says why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.secrets.table import OPS_CLIENT as OPS_CLIENT  # noqa: PLC0414  (a name of Keycloak)

REALM = "cc03"
ROLE = "keycloak"
"""Role and database in PostgreSQL (compose/postgres/roles.sql)."""
OURS = ("KC_", "KEYCLOAK_", "JAVA_", "JDK_JAVA_", "DB_", "PROXY_ADDRESS")
"""Beginnings of the names of variables that decide how Keycloak runs."""


@dataclass(frozen=True)
class LogLine:
    """One line, with the messages of its exceptions. at: seconds since 1970. level: empty where the line is not JSON."""

    at: float
    level: str
    logger: str
    text: str


@dataclass(frozen=True)
class ContainerFacts:
    """What Podman and the kernel say. status: Podman's, or `missing`, or `lost` (its process ended unseen)."""

    status: str = "running"
    exit_code: int = 0
    oom_killed: bool = False
    last_exit: int | None = None
    """Exit code of the attempt before this one, where the restart policy has made this one."""
    age_seconds: float | None = None
    """Since the container was made."""
    restarts: int = 0
    running_seconds: float | None = 3600.0
    start_seconds: float = 600.0
    """How long a start may take (compose.yaml, x-cc03)."""
    healthcheck: str = "healthy"
    """Podman's last result; empty before the first one."""
    healthcheck_said: str = ""
    addresses: frozenset[str] = frozenset()
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_periods: int | None = None
    """Periods of the CPU quota (100 ms each) that passed during the diagnosis."""
    cpu_throttled: int | None = None
    """How many of them the container spent partly stopped, because its quota was used up."""
    stale_secrets: tuple[str, ...] = ()
    """Secrets of which the running container holds another value than the state folder."""
    empty_secrets: tuple[str, ...] = ()
    """Secrets of which the state folder holds no value, or an empty one."""


@dataclass(frozen=True)
class ServerFacts:
    """What is built into the image and what it is started with."""

    built: Mapping[str, str] | None = None
    """Options that `kc.sh build` persisted, without `kc.`; empty where the image was never built."""
    version: str = ""
    changesets: frozenset[str] = frozenset()
    """`id|author|file` of every change set that the image knows; empty where they could not be read."""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """KC_*, KEYCLOAK_*, JAVA_*: without the values of secrets."""
    options: Mapping[str, str] | None = None
    """keycloak.conf, without the values of secrets."""
    edited: tuple[str, ...] = ()
    """Names of options in which the mounted keycloak.conf differs from the release's, or other files that differ."""
    jvm: tuple[str, ...] = ()
    realm_files: Mapping[str, str] = field(default_factory=dict)
    """Import file -> the realm that it names."""
    h2_files: tuple[str, ...] = ()
    truststores_missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """A session of Keycloak's role, or one that holds its change log lock. address: empty for the socket."""

    pid: int
    address: str
    seconds: float = 0.0
    application: str = ""


@dataclass(frozen=True)
class Role:
    login: bool = True
    limit: int = 30
    expired: bool = False
    connections: int = 2


@dataclass(frozen=True)
class Database:
    owner: str = ROLE
    encoding: str = "UTF8"
    connectable: bool = True


@dataclass(frozen=True)
class Schema:
    """Schema `public` of Keycloak's database."""

    create: bool = True
    lock_owner: str = ROLE
    """Role that owns the table of the change log lock; empty where there is none yet."""
    strangers: int = 0
    """Tables and sequences that belong to another role, and tables that it may not read and write."""
    holder: Session | None = None
    """The session that holds the change log lock."""
    waiting: int = 0
    """Sessions that wait for it."""


@dataclass(frozen=True)
class Client:
    client_id: str
    enabled: bool = True
    standard_flow: bool = True
    redirects: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """What Keycloak's tables hold; there once a first start has been completed."""

    version: str = ""
    """Of the Keycloak that migrated the schema last."""
    changesets: frozenset[str] = frozenset()
    """`id|author|file` of every change set that was run on the schema."""
    login_theme: str = ""
    """Of the realm cc03; empty: Keycloak's own."""
    realms: Mapping[str, bool] = field(default_factory=dict)
    """Realm -> whether it is enabled."""
    ssl_required: Mapping[str, str] = field(default_factory=dict)
    clients: tuple[Client, ...] = ()
    """Of the realm cc03."""
    key_providers: Mapping[str, bool] = field(default_factory=dict)
    """Name of a key provider that signs, of the realm cc03 -> whether it is enabled and active."""
    admins: int = 1
    """Enabled users of the realm master that hold its role admin."""
    ops_client: bool = True
    """Whether the service account of the operations tooling is there and enabled."""
    cluster_rows: int = 0
    login_errors: int = 0
    """In the last hour."""
    suspects: tuple[str, ...] = ()
    """Ids of users whose logins failed in the last hour."""


@dataclass(frozen=True)
class PostgresFacts:
    """What PostgreSQL says through its socket, and what it answers the role with its current secret."""

    status: str = "running"
    answers: bool = True
    said: str = ""
    """Why it does not answer."""
    read_only: str = ""
    """Why it refuses writes: `standby`, or where default_transaction_read_only is set."""
    role: Role | None = None
    database: Database | None = None
    schema: Schema | None = None
    content: Content | None = None
    sessions: tuple[Session, ...] = ()
    blockers: tuple[Session, ...] = ()
    """Sessions for whose locks those of Keycloak's role wait."""
    connections: int = 0
    max_connections: int = 97
    clock_offset: float | None = None
    """Seconds by which its clock is ahead of this host's."""
    login: str | None = None
    """Empty where the role logs in with its current secret; else what PostgreSQL answered."""


@dataclass(frozen=True)
class EdgeFacts:
    """What Keycloak answers from inside its network, and through nginx. A status of 0: no answer, `*_said` says why."""

    ready: int | None = None
    """HTTP status of /health/ready on port 9000."""
    ready_said: str = ""
    initialized: bool = False
    """Its start was completed, whether it is ready now or not."""
    management_plain: bool = False
    """Port 9000 answers plain HTTP, and no TLS."""
    public: int | None = None
    """HTTP status of the discovery document through nginx."""
    public_said: str = ""
    discovery: Mapping[str, str] = field(default_factory=dict)
    signing_keys: int | None = None
    """Keys with use `sig` that the realm hands out."""
    certificate_said: str = ""
    """Why the certificate of the public site is not trusted."""
    certificate_days: float | None = None
    certificate_elsewhere: bool = False
    """The public site's certificate is not of the internal authority: an issuer's, or the operator's own."""
    certificate_stale: bool = False
    """nginx serves another certificate than the one on disk."""
    pool_awaiting: float | None = None
    pool_active: float | None = None
    admin: int | None = None
    """HTTP status of the token request of the operations client on the operator's listener."""
    admin_said: str = ""
    clock_offset: float | None = None
    """Seconds by which Keycloak's clock is ahead of this host's (`iat` of a fresh token)."""
    locked: tuple[str, ...] = ()
    """Ids of users that brute-force protection has locked."""


@dataclass(frozen=True)
class Facts:
    """All that a diagnosis is decided from."""

    public_url: str
    ops_url: str
    now: float
    container: ContainerFacts = ContainerFacts()
    server: ServerFacts = ServerFacts()
    postgres: PostgresFacts = PostgresFacts()
    edge: EdgeFacts = EdgeFacts()
    nginx: str = "running"
    """State of nginx' container."""
    disks: Mapping[str, int] = field(default_factory=dict)
    """Folder of this host that the stack writes to -> free bytes."""
    log: tuple[LogLine, ...] = ()
    neighbours: Mapping[str, str] = field(default_factory=dict)
    """Address on the networks of this project -> the running container there that is not this project's. Looked for by a
    repair alone."""
    other_keycloaks: frozenset[str] = frozenset()
    """Names of those of the neighbours that are a Keycloak, and not just a program with the same JDBC driver."""
    under_way: str = ""
    """Another command that is changing the stack now."""
    unread: Mapping[str, str] = field(default_factory=dict)

    def given(self) -> Mapping[str, str]:
        """Every option by its name in keycloak.conf, from file, environment and command, the later ones winning."""
        server = self.server
        variables = {
            name.removeprefix("KC_").lower().replace("_", "-"): value
            for name, value in server.environment.items() if name.startswith("KC_") and name != "KC_RUN_IN_CONTAINER"
        }  # fmt: skip
        words = (word[2:].partition("=") for word in server.command if word.startswith("--") and "=" in word)
        return {**(server.options or {}), **variables, **{name: value for name, _, value in words}}

    def reachable(self) -> bool:
        """Whether it is to speak plain HTTP, or has a certificate."""
        options = self.given()
        return options.get("http-enabled") == "true" or any(
            options.get(name) for name in ("https-certificate-file", "https-key-store-file")
        )

    def database_seen(self) -> bool:
        """Whether PostgreSQL was asked about roles and databases, and answered."""
        return self.postgres.status == "running" and self.postgres.answers and "database" not in self.unread

    def image_built(self) -> bool:
        return bool(self.server.built)

    def hostname_given(self) -> bool:
        return bool(self.given().get("hostname"))

    def on_postgres(self) -> bool:
        """Whether no other database is built in or set."""
        return (self.server.built or {}).get("db") == "postgres" and self.given().get("db", "postgres") == "postgres"

    def theme_found(self) -> bool:
        """Whoever asks for the resources of a theme by any name makes Keycloak look for it: only the realm's own counts."""
        content = self.postgres.content
        theme = content.login_theme if content else ""
        return content is not None and not (theme and any(f"LOGIN theme {theme}," in line.text for line in self.log))

    def writable(self) -> bool:
        return self.database_seen() and not self.postgres.read_only

    def schema_seen(self) -> bool:
        return self.postgres.schema is not None

    def login_tried(self) -> bool:
        """Whether the role has tried to log in with its present secret."""
        return self.postgres.login is not None

    def login_says(self, words: str) -> str:
        """What PostgreSQL answered the role, where that has these words (a regular expression)."""
        said = self.postgres.login or ""
        return said if re.search(words, said) else ""

    @property
    def running(self) -> bool:
        return self.container.status == "running"

    @property
    def ready(self) -> bool:
        return self.running and self.edge.ready == 200

    @property
    def looping(self) -> bool:
        """It has been restarted again and again, and not run for long since."""
        young = (self.container.running_seconds or 0.0) < LOOP_SECONDS
        return self.container.restarts >= LOOP_RESTARTS and young and not self.ready

    @property
    def starting(self) -> bool:
        """A start, perhaps with a migration, that is within its time."""
        seconds = self.container.running_seconds
        return (
            self.running and self.edge.ready != 200 and not self.edge.initialized and seconds is not None
            and seconds < self.container.start_seconds and not self.looping
        )  # fmt: skip


LOOP_RESTARTS, LOOP_SECONDS = 3, 120.0
"""Restarts, and seconds since the last one, from which on it is a loop: a sound start takes 15 s."""
