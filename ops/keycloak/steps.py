"""Changes of Keycloak and of its database. Data only; `ops/keycloak/realm/perform*.py` know how each is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.plan import Step


@dataclass(frozen=True)
class ApplyRealm(Step):
    """Make the live realm as declared."""

    realm: str = ""
    """The declaration, as YAML; its placeholders are filled, its secrets are references."""
    changes: tuple[str, ...] = ()
    """What differs, in words; empty where nobody could look yet."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Secret -> version that it is to have."""
    deletions: bool = False
    """Whether what is listed under `prune` may go."""

    def details(self) -> tuple[str, ...]:
        return self.changes


@dataclass(frozen=True)
class CreateKey(Step):
    """Have the realm sign with a fresh key; the one of before goes on to verify."""

    provider: str = ""
    """Kind of Keycloak's key provider."""
    name: str = ""
    priority: int = 100
    like: str = ""
    """Id of the provider whose size and algorithm it takes over."""


@dataclass(frozen=True)
class VerifyKeys(Step):
    """See that the realm signs with the keys of these names, and that everybody can fetch them and all others."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetireKey(Step):
    """Have a key sign nothing any more, and go on to verify what it has signed."""

    identity: str = ""
    name: str = ""
    """Its name from now on, which says until when it is needed."""


@dataclass(frozen=True)
class RemoveKey(Step):
    """Remove a retired key of which everything that it has signed has expired."""

    identity: str = ""


@dataclass(frozen=True)
class DumpDatabase(Step):
    """Dump one database (pg_dump -Fc) into the state folder, and read the dump's list of contents back."""

    database: str = "keycloak"
    path: str = ""
    """Empty: `dumps/<database>-<UTC time>.dump` in the state folder."""


@dataclass(frozen=True)
class RunStatements(Step):
    """Run SQL as PostgreSQL's superuser, in one transaction, after the statements that undo it have been kept."""

    database: str = "postgres"
    statements: str = ""
    undo_query: str = ""
    """A query that prints, before anything is changed, one statement a row that puts back what is there now."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variable of psql -> name of the secret whose present value it gets."""
    finding: str = ""


@dataclass(frozen=True)
class UndoStatements(Step):
    """Run the statements that were kept before a change."""

    entry: str = ""
    """Name of the kept undo (ops/keycloak/repair/undo.py)."""


@dataclass(frozen=True)
class Halt(Step):
    """Stop a container that may be in the middle of being restarted, until it stays stopped."""

    slot: str = ""
    grace: int = 30


@dataclass(frozen=True)
class SetAside(Step):
    """Stop a container and give it another name, so that it can come back if the one in its place is no good."""

    slot: str = ""
    grace: int = 30
    serving: bool = False
    """Whether it carried load, and is started again where it is taken back."""


@dataclass(frozen=True)
class TakeBack(Step):
    """Put the container that was set aside back in its place, and start it if it carried load."""

    slot: str = ""
    entry: str = ""
    """Name of the kept undo (ops/keycloak/repair/undo.py)."""


@dataclass(frozen=True)
class Resume(Step):
    """Let a paused container go on."""

    slot: str = ""


@dataclass(frozen=True)
class Revive(Step):
    """Give a container that has lost what it needs the time to recover by itself; restart it if it does not."""

    slot: str = ""
    patience: int = 15
    """Seconds. Keycloak's pool is back 1 to 6 s after PostgreSQL."""
    grace: int = 30


@dataclass(frozen=True)
class StopStranger(Step):
    """Stop, and keep, a container that is not this project's."""

    name: str = ""
    grace: int = 30


@dataclass(frozen=True)
class StartStranger(Step):
    """The undo of it."""

    name: str = ""


@dataclass(frozen=True)
class CopyOut(Step):
    """Copy files of a container into the state folder, with the container paused meanwhile."""

    slot: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplaceConfig(Step):
    """Put a service's configuration back to what was sealed; the folder that somebody edited is kept beside it."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class BringBackConfig(Step):
    """The undo of it: the edited folder in its place again."""

    service: str = ""
    version: str = ""
    entry: str = ""


@dataclass(frozen=True)
class RescueSecret(Step):
    """Write a secret that the state folder has lost back there, from a container that still holds it."""

    name: str = ""
    version: int = 1


@dataclass(frozen=True)
class TagImage(Step):
    """Give an image that was sealed with a release its tag again, which somebody has given to another one."""

    image: str = ""
    """Its id."""
    tag: str = ""


@dataclass(frozen=True)
class KeepCertificate(Step):
    """Keep a service's certificate before another one is issued."""

    service: str = ""
    owner: int = 0


@dataclass(frozen=True)
class BringBackCertificate(Step):
    service: str = ""
    entry: str = ""
    owner: int = 0


@dataclass(frozen=True)
class MendRealm(Step):
    """One repair through the admin API. `named`: what of it the finding names (ops/keycloak/repair/admin_api.py)."""

    finding: str = ""
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class UndoRealm(Step):
    """Send back the representations that were kept before a repair through the admin API."""

    entry: str = ""


@dataclass(frozen=True)
class RecoverAdmin(Step):
    """With Keycloak stopped: a temporary service account by `bootstrap-admin service`, in a one-off container."""

    service: Mapping[str, Any] | None = None
    """The compose mapping of Keycloak's container in the release that runs."""


@dataclass(frozen=True)
class RestoreOperations(Step):
    """In the name of the temporary account: make the operations client good again, try it, and remove the temporary one."""


@dataclass(frozen=True)
class VerifyLogins(Step):
    """Discovery document, a token by password, one by client credentials and a userinfo call, all through nginx."""

    deadline: int = 30
    """Seconds within which all of them must have been answered well."""


@dataclass(frozen=True)
class RestoreDatabase(Step):
    """Put a dump in the place of a database that nobody writes to. The former one is kept under another name."""

    database: str = "keycloak"
    path: str = ""
    """Within the state folder."""


@dataclass(frozen=True)
class DropFormer(Step):
    """Drop the databases that restores have put aside, now that what replaced them is known to serve."""

    database: str = "keycloak"


@dataclass(frozen=True)
class ReviewMigrations(Step):
    """Read from the image what it will change in the schema, now that both can be asked; refuse what would be a downgrade."""

    tag: str = ""


@dataclass(frozen=True)
class ExportRealms(Step):
    """Export every realm out of the copy of an H2 database, in a throw-away container without a network."""

    folder: str = ""
    """Within the state folder: the copy is below it, and the export gets there."""
    user: str = ""
    """H2's user, where it has a name."""
    tag: str = ""
    """Image with Keycloak's whole distribution, which is built up to that stage."""
    context: str = ""
    args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ImportRealms(Step):
    """Import exported realms into an empty database beside the present one, and count what has arrived."""

    folder: str = ""
    service: Mapping[str, object] | None = None
    """The compose mapping of Keycloak's container in the release that runs."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Kind -> number that there has to be afterwards."""
    database: str = "keycloak"


@dataclass(frozen=True)
class SwapDatabase(Step):
    """Give the database that was filled beside it the name of the present one, which is kept under another."""

    database: str = "keycloak"


@dataclass(frozen=True)
class SwapBack(Step):
    """The undo of it."""

    database: str = "keycloak"
    former: str = ""
    """Name of the one that was put aside."""


@dataclass(frozen=True)
class DropImport(Step):
    """Drop the database that was filled and did not get its place."""

    database: str = "keycloak"


@dataclass(frozen=True)
class VerifyOperations(Step):
    """The operations client gets a token and reads the realms."""

    deadline: int = 60


@dataclass(frozen=True)
class RemoveFolder(Step):
    """Delete a folder of the state folder that was needed for this command only."""

    folder: str = ""
