"""inv secrets.encrypt, secrets.unlock, secrets.decrypt: what the disk says to who has a copy of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import Operation, execute, planned
from ops.core.errors import HostLacks, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.project import Project


def _present(project: Project) -> str | None:
    from ops.store import encrypted_copies as mirror

    root = project.state.root
    return str(mirror.key_file(root)) if mirror.is_on(root) else None


@verb(help={"key": "file with the key, as age-keygen writes it; made where there is none"})
def encrypt(c: Context, key: str) -> None:
    """Encrypt secrets at rest.

    In memory, and on disk encrypted (age) for a key of this host. Before the first deploy, or after inv destroy.
    """
    from ops.cli import show
    from ops.observed import observe
    from ops.project import open_project
    from ops.secrets.at_rest.plan import plan_encrypt
    from ops.store import encryption

    # What a killed one has left is completed: half of it cannot be opened.
    project = open_project(secrets_needed=False)
    root, path = project.state.root, _place_of(project, key)
    if not encryption.is_unfinished(root):
        encryption.open_again(root)

    def decide() -> Plan:
        seen = observe(project, (), with_health=False)
        return plan_encrypt(seen, str(path), _present(project), unfinished=encryption.is_unfinished(root))

    if execute(Operation(project, "secrets.encrypt", planned(project, decide))):
        show.out.print(f"[bold green]encrypted[/bold green]; after each boot the key is looked for at {path}")
        show.out.print("without it, only a backup brings the secrets back: keep a copy of it elsewhere")
        if path.stat().st_dev == root.stat().st_dev:
            show.out.print("[yellow]note:[/yellow] it is on the disk of what it opens: a copy of that disk has both")


def _place_of(project: Project, key: str) -> Path:
    """Where a key is, or is to be made. Raises UsageProblem where it could not stay."""
    from ops.store import encrypted_copies as mirror

    path = Path(key).resolve()
    if path.is_relative_to(project.state.root.parent.resolve()):
        raise UsageProblem(
            "the key cannot be stored beside what it decrypts", f"{path} is in the state folder",
            "name a file that does not go with it: on another disk, a stick, a file system that is decrypted at boot",
        )  # fmt: skip
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in no folder that there is"
        raise UsageProblem(f"{path} {what}", "the key is one file", "name a file; mount its disk first")
    if not path.exists() and mirror.is_in_memory(path.parent):
        raise UsageProblem(f"{path} would be gone after a boot", "that folder is in memory", "a folder on a disk or a stick")
    return path


@verb(help={"key": "file with the key; - for standard input; without, where it was when they were encrypted"})
def unlock(c: Context, key: str = "") -> None:
    """Decrypt secrets into memory after a boot.

    Happens by itself where the key is in its place.
    """
    from ops.cli import show
    from ops.project import open_project
    from ops.store import encrypted_copies as mirror
    from ops.store import encryption, keys

    project = open_project(secrets_needed=False)
    root = project.state.root
    if not mirror.is_on(root):
        raise HostLacks("secrets are not encrypted at rest", "nothing has to be unlocked", "inv secrets.encrypt --key FILE")
    where = Path(key) if key else mirror.key_file(root)
    identity = keys.identity_in(sys.stdin.read(), "standard input") if key == "-" else keys.read_key(where)
    locked = mirror.is_locked(root)
    encryption.unlock(root, identity)
    if locked:
        show.out.print("[bold green]unlocked[/bold green]; inv start starts what waited for it")
    elif missing := encryption.refill(root, identity):
        show.out.print(f"restored to memory: {', '.join(missing)}")
    else:
        show.out.print("nothing to do: the secrets are in memory")


@verb(help={"yes": "do not ask for confirmation"})
def decrypt(c: Context, yes: bool = False) -> None:
    """Store secrets unencrypted again.

    After inv destroy; asks.
    """
    from ops.cli import show
    from ops.observed import observe
    from ops.project import open_project
    from ops.secrets.at_rest.plan import plan_decrypt
    from ops.store import encrypted_copies as mirror
    from ops.store import encryption, keys

    # Half of it cannot be opened, and is taken back.
    project = open_project(secrets_needed=False)
    root = project.state.root
    if mirror.is_locked(root):
        encryption.unlock(root, keys.read_key(mirror.key_file(root)))

    def decide() -> Plan:
        seen = observe(project, (), with_health=False)
        return plan_decrypt(seen, _present(project), unfinished=encryption.is_unfinished(root))

    if execute(Operation(project, "secrets.decrypt", planned(project, decide), yes=yes)):
        show.out.print("secrets are stored unencrypted; [bold]inv deploy[/bold] gives them to containers as before")
