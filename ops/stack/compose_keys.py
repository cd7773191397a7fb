"""What compose/compose.yaml says of a service under `x-cc03`: the model that docs/reference/compose-keys.md shows. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ops.stack.model import Account
from ops.stack.yaml_model import Form, Keys

Words = Annotated[
    tuple[str, ...], Field(strict=False, min_length=1), Form("a list of words: the command and its arguments")
]  # fmt: skip
Names = Annotated[tuple[str, ...], Field(strict=False), Form("a list of names")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$"), Form("a name")]
Seconds = Annotated[int, Field(gt=0, le=3600), Form("a number of seconds up to 3600")]
Port = Annotated[str, Field(pattern=r"^\d{1,5}$"), Form("a port, in quotes")]


def _sentence(text: str) -> str:
    if len(text.split()) < 3:
        raise ValueError("a sentence")
    return text


Sentence = Annotated[str, AfterValidator(_sentence), Form("a sentence")]


class Health(Keys):
    """How a container shows that it works, besides its healthcheck."""

    ready: Annotated[str, Field(pattern=r"^https?://[a-z-]+:\d+/"), Form("a URL such as https://redis:1234/health")] | None = (
        Field(
            default=None,
            description="URL that tells from the host what the healthcheck tells; without it, the healthcheck is run.",
        )
    )
    live: Annotated[str, Field(pattern=r"^(https://[a-z-]+:\d+/|/)"), Form("a URL, or the path of a program")] | None = Field(
        default=None,
        description="URL that answers, or program in the container that succeeds, while the process works at all, however busy "
        "it is: the health supervisor then waits five minutes (a URL) or half an hour (a program) before it restarts what is "
        "not ready.",
    )
    socket: Annotated[str, Field(pattern="^/run/"), Form("a path such as /run/probe.sock")] | None = Field(
        default=None,
        description="Path in the container at which it alone answers `ready`: containers that share a network share its ports.",
    )


class Downtime(Keys):
    """What its users do without while its container is replaced, where no other container serves meanwhile."""

    seconds: Annotated[float, Field(gt=0, le=3600), Form("a number of seconds up to 3600")] = Field(
        description="How long that takes, until this host has measured it."
    )
    effect: Sentence = Field(description="Who notices what.")
    stops_requests: bool = Field(
        default=False, description="Whether every request to the site fails then; deploy.failed_requests does not count those."
    )


class MigrationAccount(Keys):
    secret: Name = Field(description="Secret that the migration finds in its place.")
    account: Name = Field(description="Account that this secret belongs to.")


class Migration(Keys):
    """A one-off container that prepares the database before new containers of the service start."""

    command: Words = Field(description="Command of the one-off container.")
    accounts: dict[Name, MigrationAccount] = Field(
        default={}, description="Secret of the service -> what the migration finds in its place: it logs in to another account."
    )


class Credential(Keys):
    """The account that a secret belongs to, and by it the service that verifies the secret. Exactly one of the first six."""

    role: Name | None = Field(default=None, description="Role of PostgreSQL.")
    pair: Name | None = Field(default=None, description="Two roles of PostgreSQL, NAME and NAME_2, that versions take in turn.")
    redis: Name | None = Field(default=None, description="User of Redis.")
    client: Name | None = Field(default=None, description="Client of Keycloak.")
    signer: Name | None = Field(default=None, description="Key that signs manifests.")
    cipher: Name | None = Field(default=None, description="Key that the backup repositories are encrypted with.")
    variable: Name | None = Field(default=None, description="Of a pair: environment variable that names the role of a version.")

    @model_validator(mode="after")
    def _one_account(self) -> Credential:
        if len(self._accounts()) != 1 or (self.variable and not self.pair):
            raise ValueError("one of role, pair, redis, client, signer and cipher; variable with pair only")
        return self

    def _accounts(self) -> list[Account]:
        return [Account(kind, name) for kind, name in self if kind != "variable" and name]

    @property
    def account(self) -> Account:
        return self._accounts()[0]


class Tls(Keys):
    """Where the service shows its certificate, and how it takes up a new one."""

    ports: Annotated[dict[Port, Literal["tls", "postgres", "proxy"]], Field(min_length=1)] = Field(
        description="Port -> how TLS begins there: `tls` at once, `postgres` when asked for, `proxy` after the PROXY protocol."
    )
    reload: Words | None = Field(
        default=None,
        description="Command that makes it read a new certificate; without it, the service reads the file by itself.",
    )
    reload_roots: Words | None = Field(
        default=None, description="Command that makes it read the roots that it trusts; without it, `reload`."
    )
    roots_at_start: bool = Field(default=False, description="Whether it reads those roots only when it starts.")
    public_port: Annotated[int, Field(ge=1, le=65535), Form("one of the ports")] | None = Field(
        default=None, description="Port at which users reach it, with the certificate of the public name."
    )
    key_owner: Annotated[int, Field(ge=1, le=4294967294), Form("a uid")] | None = Field(
        default=None, description="uid that reads the key, where that is not the service's own."
    )

    @model_validator(mode="after")
    def _public_is_shown(self) -> Tls:
        if self.public_port is not None and str(self.public_port) not in self.ports:
            raise ValueError("public_port: one of the ports")
        return self


class ServiceKeys(Keys):
    """Keys below `x-cc03` of a service."""

    health: Health = Health()
    reload: Words | None = Field(
        default=None, description="Command that makes it take up changed configuration; without it, its container is replaced."
    )
    check: Words | None = Field(default=None, description="Command that validates its configuration in its own image.")
    needs: Names = Field(default=(), description="Services that must be healthy before it is started.")
    stop_after: Names = Field(default=(), description="Services that must have stopped before it is stopped.")
    start_seconds: Seconds = Field(default=120, description="How long a container may take until healthy (`deadlines.start`).")
    downtime: Downtime | None = Field(default=None, description="What its replacement costs its users.")
    reconnect: Words | None = Field(
        default=None,
        description="Command that makes it close long-lived connections in an orderly way, when nginx is replaced.",
    )
    queue_requests: Words | None = Field(
        default=None, description="Command, run in nginx, that queues requests for it just before a container of it is stopped."
    )
    migration: Migration | None = Field(default=None, description="One-off container that migrates the database.")
    backup_before_migration: Words | None = Field(
        default=None, description="Command, run in it, of the verified backup that precedes a migration."
    )
    credentials: dict[Name, Credential] = Field(
        default={},
        description="Secret -> account: a new version is set at the service that verifies it, before a container uses it.",
    )
    login_check: Words | None = Field(
        default=None, description="Command that tells, given the name of a secret, whether its container can log in with it."
    )
    late_secrets: Names = Field(
        default=(),
        description="Secrets of which it takes up a new version when its container is next created for another reason.",
    )
    api_secrets: Names = Field(
        default=(), description="Secrets that are set through its API, and that its container therefore does not mount."
    )
    tls: Tls | None = Field(default=None, description="Where it shows its certificate.")
    listen_network: Name | None = Field(
        default=None, description="The one of its networks on which it listens; it gets that address as CC03_LISTEN."
    )
    optional: Sentence | None = Field(default=None, description="Why the stack is complete without it, and how to have it.")
    exempt: dict[Name, Annotated[str, Form("the reason")]] = Field(
        default={},
        description="Policy of this repository that it violates -> the reason; `inv deploy` and `inv audit` show them.",
    )
