"""inv secrets.encrypt, secrets.unlock, secrets.decrypt: what the disk says to who has a copy of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.errors import HostLacks, UsageProblem
from ops.verbs.common import carry_out, verb

if TYPE_CHECKING:
    from ops.machine.project import Project
    from ops.model import Plan, Seen


def _seen(project: Project) -> Seen:
    from ops.machine.observe import observe

    return observe(project.host, (), with_health=False)


def _present(project: Project) -> str | None:
    from ops.machine.at_rest import mirror

    root = project.state.root
    return str(mirror.key_file(root)) if mirror.is_on(root) else None


@verb(help={"key": "file with the key, as age-keygen writes it; made where there is none"})
def encrypt(c: Context, key: str) -> None:
    """Keep secrets in memory, on disk encrypted (age) for a key of this host. Before the first deploy, or after inv destroy."""
    from ops import show
    from ops.machine.project import open_project
    from ops.plan.secrets.at_rest import plan_encrypt

    # What a killed one has left is completed: half of it cannot be opened.
    project = open_project(secrets_needed=False)
    path = _place_of(project, key)

    def decide() -> Plan:
        return plan_encrypt(_seen(project), str(path), _present(project))

    if carry_out(project, decide):
        show.out.print(f"[bold green]encrypted[/bold green]; after each boot the key is looked for at {path}")
        show.out.print("without it, only a backup brings the secrets back: keep a copy of it elsewhere")


def _place_of(project: Project, key: str) -> Path:
    path = Path(key).absolute()
    if path.is_relative_to(project.state.root.parent):
        raise UsageProblem(
            "the key cannot lie beside what it opens", f"{path} is in the state folder",
            "name a file that does not go with it: on another disk, a stick, a file system that is decrypted at boot",
        )  # fmt: skip
    return path


@verb(help={"key": "file with the key; - for standard input; without, where it was when they were encrypted"})
def unlock(c: Context, key: str = "") -> None:
    """Decrypt secrets into memory, where a boot has emptied it. Done by itself where the key is in its place."""
    from ops import show
    from ops.machine.at_rest import mirror, switch
    from ops.machine.project import open_project

    project = open_project(secrets_needed=False)
    root = project.state.root
    if not mirror.is_on(root):
        raise HostLacks("secrets are not encrypted at rest", "nothing has to be unlocked", "inv secrets.encrypt --key FILE")
    if not mirror.is_locked(root):
        show.out.print("nothing to do: the secrets are in memory")
        return
    if key:
        said = sys.stdin.read() if key == "-" else Path(key).read_text(encoding="utf-8") if Path(key).is_file() else ""
        switch.unlock(root, switch.identity_in(said, key))
    else:
        switch.open_again(root)
    show.out.print("[bold green]unlocked[/bold green]; inv start starts what waited for it")


@verb(help={"yes": "do not ask"})
def decrypt(c: Context, yes: bool = False) -> None:
    """Keep secrets on disk as they are, again. After inv destroy; asks."""
    from ops import show
    from ops.machine.project import open_project
    from ops.plan.secrets.at_rest import plan_decrypt

    project = open_project()

    def decide() -> Plan:
        return plan_decrypt(_seen(project), _present(project))

    if carry_out(project, decide, yes=yes):
        show.out.print("secrets lie on this disk as they are; [bold]inv deploy[/bold] gives them to containers as before")
