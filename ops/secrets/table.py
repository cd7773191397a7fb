"""Every secret: its verifier, what users notice of a rotation, and what to do about those that cannot be rotated. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from ops.core.errors import HostLacks, UsageProblem, did_you_mean
from ops.stack.applied_settings import issued
from ops.stack.model import Account, Stack

OPS_CLIENT = "cc03-ops"
"""Name of Keycloak's client in whose name the commands administer it."""
ADMIN = "admin"
"""Name of the bootstrap administrator of the realm master (config/keycloak/keycloak.conf)."""
PROBE = "cc03-probe"
"""Name of the client and of the user in whose name the commands log in."""
OWNERS = {
    "role": "postgres", "pair": "postgres", "redis": "redis", "client": "keycloak", "user": "keycloak", "account": "keycloak",
    "signer": "backup", "cipher": "backup",
}  # fmt: skip
"""Kind of account -> the service that checks its secret."""
SPOKEN = {
    "role": "ALTER ROLE, between the old container and the new one",
    "pair": "two roles with the same rights: both valid while the containers change",
    "redis": "two passwords while the containers change",
    "client": "admin API", "user": "admin API", "account": "admin API",
    "signer": "the old key still verifies", "cipher": "the keys that it protects are re-encrypted; needs --export FILE",
}  # fmt: skip
"""Kind of account -> the way of its rotation, in words."""
BY_FILE = ("signer", "cipher")
"""Kinds that are set by a file of the host: no server has to run for it."""
BY_API = ("client", "user", "account")
"""Kinds that Keycloak verifies."""
UNTRIED = ("signer",)
"""Kinds without a login: what is old stays good."""
ESCROWED = ("cipher",)
"""Kinds without which this host cannot come back: a new one is exported before it is used."""


NOBODY = Account("", "")


@dataclass(frozen=True)
class Target:
    """A secret.

    secret: its name in the state folder. to: the account that it is the credential of; NOBODY: no command can change it.
    users: what users notice of a rotation. instead: why it cannot be rotated. command: what is done instead.
    keeper: the service that it belongs to, where it is no account's.
    """

    secret: str
    to: Account
    users: str = ""
    instead: str = ""
    command: str = ""
    keeper: str = "backup"

    @property
    def kind(self) -> str:
        return self.to.kind

    @property
    def can_rotate(self) -> bool:
        """Whether a command can change it."""
        return self.to != NOBODY

    @property
    def owner(self) -> str:
        """The service that checks it."""
        return OWNERS.get(self.kind, self.keeper)

    @property
    def way(self) -> str:
        return SPOKEN.get(self.kind, self.command)

    @property
    def destroys(self) -> str:
        end = {
            "signer": "it makes no new signature", "cipher": "no repository opens with it, nor with exported copies of it,",
        }.get(self.kind, "it is refused")  # fmt: skip
        return f"the present {self.to}: {end} from then on, {self.users}"


_client, _role, _redis = (partial(Account, kind) for kind in ("client", "role", "redis"))
_OWN = "no interruption: the commands use the new one at once"
_PROMETHEUS = "Prometheus is replaced: some seconds are not measured"
_BACKUP = "the backup is replaced: a running job starts again, and with backup.synchronous writes wait meanwhile"
CLIENTS = {
    "cc03-grafana": Target(
        "keycloak-grafana",
        _client("cc03-grafana"),
        "Grafana is replaced: it is down for some seconds, open sessions continue",
    ),
    "cc03-ops-pages": Target(
        "keycloak-ops-pages",
        _client("cc03-ops-pages"),
        "Prometheus is replaced: some seconds are not measured; the pages of operators log them in again by themselves",
    ),
    "cc03-backend": Target("keycloak-backend", _client("cc03-backend"), "no interruption: no program logs in with it"),
    PROBE: Target("keycloak-probe", _client(PROBE), _OWN),
    "cc03-keeper": Target("keycloak-keeper", _client("cc03-keeper"), _OWN),
    OPS_CLIENT: Target("keycloak-ops", _client(OPS_CLIENT), _OWN),
}
ADMINISTRATOR = Target("keycloak-admin", Account("user", ADMIN), "open sessions of the administrator end")
DATABASE = Target(
    "postgres-keycloak", _role("keycloak"),
    "Keycloak is replaced: nginx queues logins and token renewals; open sessions continue",
)  # fmt: skip
TARGETS = (
    Target("postgres-superuser", _role("postgres"), "no interruption: programs and operators use the socket"),
    Target("postgres-app", Account("pair", "app"), "no interruption: the backend's containers are replaced one by one"),
    Target("postgres-migration", _role("app_migration"), "no interruption: the next migration logs in with the new one"),
    DATABASE,
    Target("postgres-grafana", _role("grafana"), "Grafana is replaced: it is down for some seconds"),
    Target("postgres-exporter", _role("exporter"), _PROMETHEUS),
    Target("postgres-backup", _role("backup"), _BACKUP),
    Target("postgres-receiver", _role("receiver"), _BACKUP),
    Target("redis-app", _redis("app"), "no interruption: the backend's containers are replaced one by one"),
    Target("redis-exporter", _redis("exporter"), _PROMETHEUS),
    Target("redis-backup", _redis("backup"), _BACKUP),
    ADMINISTRATOR,
    *CLIENTS.values(),
    Target("keycloak-probe-user", Account("account", PROBE), _OWN),
    Target(
        "operator-password", NOBODY, instead="it works once; its user has then chosen another password",
        command="inv keycloak.user reset operator", keeper="keycloak",
    ),
    Target(
        "grafana-admin", NOBODY, instead="Grafana reads it once, on an empty database, and keeps a hash of its own",
        command="docs/how-to/secrets.md, grafana-admin", keeper="grafana",
    ),
    Target("backup-cipher", Account("cipher", "backup"), _BACKUP),
    Target("backup-signing", Account("signer", "backup"), _BACKUP),
)  # fmt: skip
_BY_NAME = {one.secret: one for one in TARGETS}


def target_named(secret: str) -> Target:
    """Raises UsageProblem, with a suggestion, where there is no such secret."""
    what, command = issued(secret)
    if what:
        return Target(secret, NOBODY, instead="it is issued elsewhere", command=f"{command}, then inv deploy")
    if secret not in _BY_NAME:
        raise UsageProblem(f'there is no secret "{secret}"', did_you_mean(secret, _BY_NAME), "inv secrets")
    return _BY_NAME[secret]


def consumers(stack: Stack, target: Target) -> tuple[str, ...]:
    """Services whose containers log in with it, or use it where no server verifies it."""
    owner = target.owner if target.can_rotate and target.kind not in BY_FILE else ""
    return tuple(name for name, service in stack.services.items() if target.secret in service.secrets and name != owner)


def rotatable(stack: Stack, names: Iterable[str], *, escrow: bool = False) -> tuple[Target, ...]:
    """Those of these secrets that can be rotated in a stack; of the others nothing is said. `escrow`: whether there is a place
    outside of this host for what has to be exported."""
    found = (target_named(name) for name in names if name in stack.secrets)
    return tuple(one for one in found if one.can_rotate and (escrow or one.kind not in ESCROWED))


def must_be_rotatable(stack: Stack, target: Target) -> None:
    """Raises HostLacks where that takes what this stack does not have, UsageProblem where it cannot be done at all."""
    if not target.can_rotate:
        raise UsageProblem(f"{target.secret} is not rotated by a command", target.instead, target.command)
    if target.secret not in stack.secrets:
        raise HostLacks(f"the release that runs has no secret {target.secret}", "it is of another version", "inv deploy")
    if target.owner == "keycloak":
        return
    # Its server must keep a password over a restart, and its users must be replaced in the order that this takes.
    late = target.kind in BY_FILE or target.secret in stack.services[target.owner].late_secrets
    told = all(target.secret in stack.services[name].credentials for name in consumers(stack, target))
    if not late or not told:
        raise HostLacks(
            f"the release that runs cannot have {target.secret} rotated", "an older version of this repository has sealed it",
            "inv deploy, then rotate",
        )  # fmt: skip
