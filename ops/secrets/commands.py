"""inv secrets: list, rotate and search for secrets, and encrypt them at rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.cli.execute import Operation, execute, planned
from ops.core.errors import HostLacks, OpsError, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.deploy.transition import Goal
    from ops.project import Project
    from ops.secrets.facts import Row
    from ops.secrets.plan import Rotation
    from ops.secrets.table import Target
    from ops.stack.model import Seen

VERB = "secrets.rotate"


@verb(changes=False, default=True, name="show", help={"json": "print everything for other programs"})
def show_secrets(c: Context, json: bool = False) -> None:
    """List secrets: verifier, users, age, how to rotate.

    Exit code 1 for an unfinished rotation.
    """
    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.secrets.facts import at_rest, survey

    project = must_exist(open_project())
    rows, rest = survey(project), at_rest(project.state)
    if json:
        print_json({"secrets": [row.as_json() for row in rows], "at_rest": rest})
    else:
        _draw(rows)
        if rest:
            show.out.print(f"[dim]in memory; on disk encrypted for {rest['recipient']}, key {rest['key_file']}[/dim]")
        show.out.print("[dim]keys of the realm: inv keycloak.rotate keys; certificates: inv certs[/dim]")
    if unfinished := [row for row in rows if row.unfinished]:
        raise OpsError(
            f"the rotation of {unfinished[0].secret} is unfinished", unfinished[0].unfinished,
            f"inv secrets.rotate {unfinished[0].secret} completes it",
        )  # fmt: skip


def _draw(rows: Sequence[Row]) -> None:
    from ops.cli import show

    drawn = show.table("SECRET", "VERSION", "AGE", "SINCE RELEASE", "CHECKED BY", "USED BY", "ROTATED BY")
    for row in rows:
        age = "–" if row.age_days is None else f"{row.age_days:.0f} d"
        drawn.add_row(
            row.secret, f"[red]{row.version}[/red]" if row.unfinished else str(row.version),
            f"[yellow]{age}[/yellow]" if row.old else age, str(row.release or "–"), row.checked_by,
            ", ".join(row.consumers) or "–", row.way,
        )  # fmt: skip
    show.out.print(drawn)


@verb(positional=["names"], help={
    "names": "which ones, such as redis-app or postgres-app,redis-app",
    "all": "every secret that can be rotated, in one release; the key of the backups only with --export",
    "export": "backup-cipher: write the new key into this new file before it is used; the old export is worth nothing then",
    "plan": "show what would be done, and for whom; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def rotate(
    c: Context, names: str = "", all: bool = False, export: str = "", plan: bool = False, yes: bool = False
) -> None:  # fmt: skip
    """Rotate secrets without a failed login.

    New values are made, set on their servers and used by each container in turn; then the old ones are revoked.
    """
    from ops.cli import show
    from ops.releases.situation import open_running
    from ops.secrets.table import rotatable, target_named

    began = time.monotonic()
    given = [name for name in names.split(",") if name]
    if bool(given) == all:
        raise UsageProblem("secrets.rotate needs NAME, or --all", "either of them, not both", "inv secrets")
    asked = [target_named(name) for name in given]
    project = open_running()
    stack = project.deployed.stack
    targets = list(rotatable(stack, stack.secrets, escrow=bool(export))) if all else asked
    if steps := rotate_secrets(project, targets, VERB, export=export, plan_only=plan, yes=yes):
        what = f"{len(targets)} secrets" if len(targets) > 1 else targets[0].secret
        show.out.print(f"[bold green]{what} rotated[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")


def _place_for(project: Project, targets: Sequence[Target], export: str) -> str:
    """Absolute path of the file for the new key of the repositories; empty where no key is rotated."""
    from pathlib import Path

    from ops.secrets import backup_keys as keys
    from ops.secrets.table import ESCROWED

    if not any(one.kind in ESCROWED for one in targets):
        if not export:
            return ""
        raise UsageProblem("--export is for the key of the backups", "it is not among these secrets", "inv secrets")
    if not export:
        raise UsageProblem(
            "the new key needs a file: --export FILE", "a host that is lost with the only copy loses every backup",
            "inv secrets.rotate backup-cipher --export /media/usb/key.txt",
        )  # fmt: skip
    path = Path(export).absolute()
    if not path.parent.is_dir():
        raise UsageProblem(f"there is no folder {path.parent}", "the key is written to a file in it", "mount it, then again")
    # What a rotation has written that was killed afterwards is that of the version which this one goes on with.
    if not keys.is_pending(project, path):
        keys.must_be_new(path)
    return str(path)


def rotate_secrets(
    project: Project, targets: Sequence[Target], name: str, *, export: str = "", plan_only: bool, yes: bool
) -> int:  # fmt: skip
    """The number of steps. `name`: of the command. `export`: file for the new key of the backups, where that is among them.

    Raises as `change_release` does, and where a secret cannot be rotated here.
    """
    from ops.deploy.transition import change_release
    from ops.secrets.table import must_be_rotatable
    from ops.secrets.verifiers import verifier_of

    def aim() -> Goal:
        here = project.afresh()
        path = _place_for(here, targets, export)
        if not here.state.current.is_symlink():
            raise HostLacks("nothing is deployed", "there is no release whose secret could be rotated", "inv deploy")
        for target in targets:
            must_be_rotatable(here.deployed.stack, target)
        for must_answer in {verifier_of(target.kind).must_answer for target in targets}:
            must_answer(here)
        return rotation_goal(here, targets, name, path)

    return change_release(aim, plan_only=plan_only, yes=yes)


def rotation_goal(project: Project, targets: Sequence[Target], name: str, export: str = "") -> Goal:
    """The release that runs, with new versions of these secrets, which both sides know."""
    from dataclasses import replace
    from pathlib import Path

    from ops.deploy.transition import again
    from ops.secrets import backup_keys as keys
    from ops.secrets.plan import Rotation, rotations, version_for, with_export
    from ops.secrets.table import ESCROWED
    from ops.stack.wanted import with_versions
    from ops.store import versions
    from ops.store.versions import secret_versions

    running, state = project.deployed, project.state

    def begun(target: Target) -> Rotation:
        secret = target.secret
        numbers = versions.numbers(state, secret)
        version = version_for(
            target, numbers, versions.taken(state, secret), running.versions[secret], versions.accepted(state, secret)
        )
        # That export belongs to a rotation that was killed, or the command would not have come this far.
        version = numbers[-1] if target.kind in ESCROWED and Path(export).is_file() else version
        return Rotation(target, version, before=max((number for number in numbers if number < version), default=0))

    changes = [begun(target) for target in targets]
    fresh = {one.target.secret: one.version for one in changes}
    wanted = with_versions(running, {**secret_versions(state), **fresh})

    def extend(plan: Plan, seen: Seen) -> Plan:
        # Wherever it was killed, it is verified, and noted at its end: then this is no longer pending.
        pending = bool(export) and keys.is_pending(project, Path(export))
        left = [replace(one, again=pending and one.target.kind in ESCROWED) for one in changes]
        rotated = rotations(plan, seen, wanted, left)
        return with_export(rotated, export, left) if export and (rotated.steps or pending) else rotated

    def undo() -> None:
        problems = []
        for one in changes:
            try:
                _take_back(project, one)
            except Exception as problem:
                # Each is reverted, whatever becomes of the others.
                problems.append(problem)
        if problems:
            raise problems[0]

    return again(project, wanted, name, extend=extend, undo=undo)


def _take_back(project: Project, change: Rotation) -> None:
    """Make the previous version current again. Where containers return to it, its verifier is set on the way."""
    from ops.secrets import verifiers
    from ops.secrets.plan import moves_back
    from ops.secrets.steps import SetCredential
    from ops.store import versions

    secret, to, state = change.target.secret, change.target.to, project.state
    if not change.before:
        return  # there is no other
    if versions.accepted(state, secret) not in (None, (change.before,)) and not moves_back(project.deployed, change.target):
        if change.target.kind == "account" and verifiers.accepts(project, to, secret, change.version):
            # Keycloak takes none of an account's last passwords back. Nothing but commands uses it, and they take the newest.
            versions.note(state, secret, [change.version])
            return
        verifiers.set_credential(project, SetCredential("hand back", "", secret=secret, version=change.before, to=to))
    versions.withdraw(state, secret, change.version)


@verb(changes=False, help={"json": "print everything for other programs"})
def check(c: Context, json: bool = False) -> None:
    """Search for secret values where none belongs.

    In inspect output, processes, logs, images, the state folder and backups.
    """
    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.secrets.search import search

    found = search(must_exist(open_project()))
    if json:
        print_json(found.as_json())
    else:
        show.out.print(f"searched for {found.secrets} secrets in {found.places} places, {found.read_bytes / 1e6:.0f} MB")
        for note in found.notes:
            show.out.print(f"[dim]{note}[/dim]")
    if found.leaks:
        first = found.leaks[0]
        raise OpsError(
            f"{len(found.leaks)} findings",
            "; ".join(f"{leak.where} holds {leak.secret}" for leak in found.leaks[:5]),
            f"take it out there, then inv secrets.rotate {first.secret}: it has been read",
        )


def _present(project: Project) -> str | None:
    from ops.store import encrypted_copies

    root = project.state.root
    return str(encrypted_copies.key_file(root)) if encrypted_copies.is_on(root) else None


@verb(help={"key": "file with the key, as age-keygen writes it; made where there is none"})
def encrypt(c: Context, key: str) -> None:
    """Encrypt secrets at rest.

    In memory, and on disk encrypted (age) for a key of this host. Before the first deploy, or after inv destroy.
    """
    from ops.cli import show
    from ops.observed import observe
    from ops.project import open_project
    from ops.secrets.plan import plan_encrypt
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
    from ops.store import encrypted_copies

    path = Path(key).resolve()
    if path.is_relative_to(project.state.root.parent.resolve()):
        raise UsageProblem(
            "the key cannot be stored beside what it decrypts", f"{path} is in the state folder",
            "name a file that does not go with it: on another disk, a stick, a file system that is decrypted at boot",
        )  # fmt: skip
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in no folder that there is"
        raise UsageProblem(f"{path} {what}", "the key is one file", "name a file; mount its disk first")
    if not path.exists() and encrypted_copies.is_in_memory(path.parent):
        raise UsageProblem(f"{path} would be gone after a boot", "that folder is in memory", "a folder on a disk or a stick")
    return path


@verb(help={"key": "file with the key; - for standard input; without, where it was when they were encrypted"})
def unlock(c: Context, key: str = "") -> None:
    """Decrypt secrets into memory after a boot.

    Happens by itself where the key is in its place.
    """
    from ops.cli import show
    from ops.project import open_project
    from ops.store import encrypted_copies, encryption, keys

    project = open_project(secrets_needed=False)
    root = project.state.root
    if not encrypted_copies.is_on(root):
        raise HostLacks("secrets are not encrypted at rest", "nothing has to be unlocked", "inv secrets.encrypt --key FILE")
    where = Path(key) if key else encrypted_copies.key_file(root)
    identity = keys.identity_in(sys.stdin.read(), "standard input") if key == "-" else keys.read_key(where)
    locked = encrypted_copies.is_locked(root)
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
    from ops.secrets.plan import plan_decrypt
    from ops.store import encrypted_copies, encryption, keys

    # Half of it cannot be opened, and is reverted.
    project = open_project(secrets_needed=False)
    root = project.state.root
    if encrypted_copies.is_locked(root):
        encryption.unlock(root, keys.read_key(encrypted_copies.key_file(root)))

    def decide() -> Plan:
        seen = observe(project, (), with_health=False)
        return plan_decrypt(seen, _present(project), unfinished=encryption.is_unfinished(root))

    if execute(Operation(project, "secrets.decrypt", planned(project, decide), yes=yes)):
        show.out.print("secrets are stored unencrypted; [bold]inv deploy[/bold] gives them to containers as before")
