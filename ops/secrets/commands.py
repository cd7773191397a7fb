"""inv secrets, secrets.rotate, secrets.check: what there is, another value in its place, and where none may lie."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
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
        print(json_module.dumps({"secrets": [row.as_json() for row in rows], "at_rest": rest}, indent=2))
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
    from rich.table import Table

    from ops.cli import show

    drawn = Table("SECRET", "VERSION", "AGE", "SINCE RELEASE", "CHECKED BY", "USED BY", "ROTATED BY", box=None, pad_edge=False)
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
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run
    from ops.secrets.table import rotatable, target_named

    began = time.monotonic()
    given = [name for name in names.split(",") if name]
    if bool(given) == all:
        raise UsageProblem("secrets.rotate needs NAME, or --all", "either of them, not both", "inv secrets")
    asked = [target_named(name) for name in given]
    project = must_run(must_exist(open_project()))
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
    from ops.secrets.verifiers import VERIFIERS

    def aim() -> Goal:
        here = project.afresh()
        path = _place_for(here, targets, export)
        if not here.state.current.is_symlink():
            raise HostLacks("nothing is deployed", "there is no release whose secret could be rotated", "inv deploy")
        for target in targets:
            must_be_rotatable(here.deployed.stack, target)
        for must_answer in {VERIFIERS[target.kind].must_answer for target in targets}:
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
                # What can be put back is, whatever becomes of the others.
                problems.append(problem)
        if problems:
            raise problems[0]

    return again(project, wanted, name, extend=extend, undo=undo)


def _take_back(project: Project, change: Rotation) -> None:
    """Make the previous version current again. Where containers return to it, its verifier is set on the way."""
    from ops.secrets import verifiers
    from ops.secrets.plan import moves_back
    from ops.secrets.steps import HandOver
    from ops.store import versions

    secret, to, state = change.target.secret, change.target.to, project.state
    if not change.before:
        return  # there is no other
    if versions.accepted(state, secret) not in (None, (change.before,)) and not moves_back(project.deployed, change.target):
        if change.target.kind == "account" and verifiers.accepts(project, to, secret, change.version):
            # Keycloak takes none of an account's last passwords back. Nothing but commands uses it, and they take the newest.
            versions.note(state, secret, [change.version])
            return
        verifiers.hand_over(project, HandOver("hand back", "", secret=secret, version=change.before, to=to))
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
        print(json_module.dumps(found.as_json(), indent=2))
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
