"""inv backup and its family: sets made now, listed, proved, removed; the key that all of them need."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.backup.sets import (
    SAFETY_DAYS,
    Safety,
    Set,
    Status,
    choose,
    expendable,
    kind_of,
    narrowed,
    newest_first,
    places,
    rows,
    to_prove,
)
from ops.backup.steps import ARCHIVE, ProveHostArchive, RunJob
from ops.cli.command import print_json, verb
from ops.cli.execute import Decision, Operation, execute, locked
from ops.core.amounts import size
from ops.core.errors import OpsError, UsageProblem, did_you_mean
from ops.core.plan import Described, Plan, Step
from ops.core.process import until

if TYPE_CHECKING:
    from ops.project import Project

KINDS = ("full", "diff", "incr")


def _project() -> Project:
    from ops.releases.situation import open_running

    return open_running()


def _execute(project: Project, plan: Plan, *, yes: bool = False) -> float:
    """Without the project's lock: the container has one for its jobs, and a deploy may run meanwhile. Returns seconds."""
    began = time.monotonic()
    # The journal of the lock's holder is not to be mixed with that of a job beside it.
    journal = project.state.root / "backup.jsonl"
    decision = Decision(project, plan)
    execute(Operation(project, plan.verb, lambda: decision, yes=yes, locks=False, remembers=False, journal=journal))
    return time.monotonic() - began


@verb(default=True, help={"kind": "full, diff (since the last full one) or incr (since the last one)"})
def make(c: Context, kind: str = "incr") -> None:
    """Make a backup set now.

    PostgreSQL, Redis, metrics, logs, silences, and the state of this host. The site is not touched.
    """
    from ops.backup.restore.plan import plan_drop
    from ops.backup.restore.volumes import safeties
    from ops.cli import show

    if kind not in KINDS:
        raise UsageProblem(f"there is no kind {kind}", did_you_mean(kind, KINDS), "inv --help backup")
    project = _project()
    old = expendable(safeties(project), datetime.now(UTC))
    job = RunJob("set", f"make a set ({kind})", (ARCHIVE,), argv=("set", "--kind", kind))
    steps = (ARCHIVE, job, *(replace(step, after=(job,)) for step in plan_drop(old)))
    since = datetime.now(UTC).replace(microsecond=0)
    seconds = _execute(project, Plan("backup", steps))
    made = _newest(project, since)
    show.out.print(f"[bold green]backed up[/bold green] in {seconds:.1f} s{made}")


LISTED_SECONDS = 20.0
"""Until the scheduler has looked at the repositories again."""


def _newest(project: Project, since: datetime) -> str:
    """What was made since this moment, once it is listed with all of its parts: a restore right after this finds them."""
    from ops.backup.container import status

    found: list[Set] = []

    def look() -> str:
        # Those from the future, made while the clock was ahead, are none of this command's.
        found[:] = [one for one in status(project).sets if since <= one.made <= datetime.now(UTC)]
        return "" if found and not found[0].missing else "it is not listed whole yet"

    until(look, LISTED_SECONDS)
    if not found:
        return ""
    return f": {found[0].name}, {size(found[0].bytes)}, {size(found[0].added)} added"


@verb(changes=False, name="list", help={"json": "print what the container reports, and safety copies, for other programs"})
def list_sets(c: Context, json: bool = False) -> None:
    """List backup sets and the moments that can be restored.

    Age, kind, size, content, and whether a test restore has proved it.
    """
    from ops.backup.container import status
    from ops.backup.restore.volumes import safeties

    project = _project()
    found, kept = status(project), newest_first(safeties(project))
    if json:
        content = {**asdict(found), "safety": [asdict(one) for one in kept]}
        print_json(content)
    else:
        _show(found, kept)


def _show(found: Status, kept: list[Safety]) -> None:
    from rich.markup import escape

    from ops.cli import show

    drawn = show.table("SET", "AGE", "KIND", "SIZE", "ADDED", "INSIDE", "PROVED", "WHERE")
    for row in rows(found, datetime.now(UTC)):
        drawn.add_row(*row)
    show.out.print(drawn)
    if len(found.repositories) > 1:
        table = show.table("REPOSITORY", "KIND", "SETS", "NEWEST", "USED", "FREE", "")
        for row in places(found, datetime.now(UTC)):
            table.add_row(*map(escape, row))
        show.out.print(table)
    if found.since and found.until:
        show.out.print(f"PostgreSQL can go to any second from {found.since:%Y-%m-%d %H:%M:%S} "
                       f"to {found.until:%Y-%m-%d %H:%M:%S} UTC")  # fmt: skip
    for one in kept:
        show.out.print(f"safety copy: {one.part} from before {one.stamp}, {size(one.bytes)}, kept for {SAFETY_DAYS:.0f} days; "
                       "inv restore --undo restores it")  # fmt: skip
    for problem in found.problems:
        show.out.print(f"[red]problem:[/red] {escape(problem)}")
    if not found.escrowed:
        show.out.print("[yellow]the keys of the backups were never exported: inv backup.key --export FILE[/yellow]")


@verb(positional=["name"], help={
    "name": "the set; without it the newest one of which all is there",
    "repository": "which copy of it to read",
})  # fmt: skip
def verify(c: Context, name: str = "", repository: str = "local") -> None:
    """Prove a backup set by a test restore.

    Restores it into scratch space, starts it, reads every page, compares it with its manifest and opens its host archive.
    """
    from ops.backup.container import status
    from ops.cli import show

    project = _project()
    found = narrowed(status(project), repository)
    if name:
        choose(found, name)
    chosen = to_prove(found, name, repository)
    name = chosen.name if chosen else name
    argv = ("drill", *((name,) if name else ()), "--repository", repository)
    steps: list[Step] = [RunJob("drill", f"test {name or 'the newest set'} by a restore", argv=argv)]
    if chosen and "host" in chosen.inside:
        title = "decrypt its archive of this host with the recovery key"
        steps.append(ProveHostArchive("archive", title, tuple(steps), set=name, repository=repository))
    seconds = _execute(project, Plan("backup.verify", tuple(steps)))
    show.out.print(f"[bold green]verified[/bold green] in {seconds:.1f} s")


@verb(help={
    "repository": "only sets of this one, with --credentials that may remove them: for one that is append-only",
    "credentials": "file with those credentials; it is read once, and nothing keeps it",
    "safety": "remove safety copies of restores as well, however new",
    "force": "also where the last set that is proved would go",
    "ahead": "only sets from the future, which were made while the clock was ahead",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def prune(
    c: Context, repository: str = "", credentials: str = "", safety: bool = False, force: bool = False, ahead: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Remove backup sets beyond the retention.

    With the WAL that only they need, and safety copies that are old enough.
    """
    from ops.backup.restore.plan import plan_drop
    from ops.backup.restore.volumes import safeties
    from ops.cli import show

    project = _project()
    if repository or credentials:
        _prune_elsewhere(project, repository, credentials, ("--force",) if force else (), yes=yes)
        return
    if force and ahead:
        raise UsageProblem("--force and --ahead cannot both be meant", "each removes other sets", "inv --help backup.prune")
    kept = safeties(project)
    gone = tuple(kept) if safety else expendable(kept, datetime.now(UTC))
    title = "remove sets from the future" if ahead else "remove sets beyond the retention"
    options = [f"--{name}" for name, given in (("force", force), ("ahead", ahead)) if given]
    losses = [
        f"the safety copy of {one.part} from before {one.stamp} ({size(one.bytes)}): no undo of that restore" for one in gone
    ]
    losses += ["sets beyond the retention, even if no newer one is proved"] if force else []
    losses += ["sets from the future, and what builds upon them"] if ahead else []
    steps = (RunJob("expire", title, argv=("expire", *options)), *plan_drop(gone))
    seconds = _execute(project, Plan("backup.prune", steps, destroys=tuple(losses)), yes=yes)
    show.out.print(f"[bold]pruned[/bold] in {seconds:.1f} s; {len(gone)} safety copies removed")


def _prune_elsewhere(project: Project, repository: str, credentials: str, forced: tuple[str, ...], *, yes: bool) -> None:
    from ops.backup import credentials as given
    from ops.backup.container import status
    from ops.cli import show

    if not repository or not credentials:
        raise UsageProblem(
            "--repository and --credentials belong together", "this host's own credentials remove nothing there",
            "inv backup.prune without both of them is about all other repositories",
        )  # fmt: skip
    kind, path = kind_of(status(project), repository), Path(credentials).absolute()
    given.read(kind, path)
    what = f"sets of {repository} beyond the retention"
    argv = ("expire", "--repository", repository, *forced)
    step = RunJob("expire", f"remove {what}", argv=argv, credentials=str(path), kind=kind)
    seconds = _execute(project, Plan("backup.prune", (step,), destroys=(what,)), yes=yes)
    show.out.print(f"[bold]pruned[/bold] {repository} in {seconds:.1f} s")


@verb(positional=["name", "file"], help={
    "name": "a repository of stack.yaml that is in S3 or behind SFTP",
    "file": "S3: lines `key = …` and `key_secret = …`; SFTP: a private key. Without it a key pair is made, for SFTP",
})  # fmt: skip
def credentials(c: Context, name: str, file: str = "") -> None:
    """Store the credentials of a remote backup repository.

    Reads them from a file or makes a key pair. They become secrets of this host.
    """
    from ops.audit_log.record import audited
    from ops.backup import credentials as kept
    from ops.cli import show
    from ops.project import open_project

    project = open_project()
    remote = {one.name: one for one in project.settings.repositories if one.remote}
    if name not in remote:
        raise UsageProblem(
            f"stack.yaml has no repository {name} in S3 or behind SFTP", did_you_mean(name, list(remote)),
            "backup.repositories in config/stack.yaml first: docs/how-to/backup.md, Somewhere else",
        )  # fmt: skip
    kind = remote[name].kind
    if not file and kind != "sftp":
        raise UsageProblem(
            "a file is needed", "S3 issues credentials; they cannot be generated here", f"inv backup.credentials {name} FILE"
        )
    project.host.prepare()
    private, public = kept.key_pair() if not file else ("", "")
    values = kept.read(kind, Path(file)) if file else {"key": private}
    plan = Plan("backup.credentials", (Described("keep", f"store credentials of {name}"),))
    with locked(project, plan.verb), audited(project, plan):
        changed = kept.keep(project, remote[name], values)
    if public:
        show.out.print(f"a line for the authorized_keys of {remote[name].where['user']} there:\n{public}", soft_wrap=True)
    show.out.print("stored; inv deploy gives them to the backup" if changed else "unchanged: these are stored already")


@verb(help={
    "export": "write the keys into this new file, for a safe place that is not this host",
    "check": "verify that this file holds the right keys",
    "import": "restore a missing key from this file, if it opens the repository",
})  # fmt: skip
def key(c: Context, export: str = "", check: str = "", import_: str = "") -> None:
    """Export, verify or restore the keys of all backups.

    Without these keys no backup can be read.
    """
    from ops.audit_log.record import audited
    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.secrets import backup_keys as keys

    project = must_exist(open_project())
    if export:
        with audited(project, Plan("backup.key", (Described("export", "export the repository key"),))):
            keys.export(project, Path(export).absolute())
        show.out.print(f"written to {export}, readable by its owner alone: print it or move it off this host")
    if check:
        keys.check(project, Path(check))
        show.out.print(f"[bold green]right[/bold green]: {check} holds the keys of these backups")
    if import_:
        _import(project, Path(import_))
    if not export and not check and not import_:
        at = keys.exported_at(project.state)
        show.out.print(f"checksum {keys.checksum(keys.value(project))}; " + (f"exported {at}" if at else "never exported"))
        if not at:
            raise OpsError(
                "the keys of the backups were never exported",
                "an empty host needs them; a file of an earlier version has no recovery key", "inv backup.key --export FILE",
            )  # fmt: skip


def _import(project: Project, path: Path) -> None:
    from ops.audit_log.record import audited
    from ops.backup.restore.repository import import_key
    from ops.cli import show

    project.host.prepare()
    with (
        locked(project, "backup.key"),
        audited(project, Plan("backup.key", (Described("import", "restore the repository key"),))),
    ):
        number = import_key(project, path)
    if number is None:
        show.out.print(f"this host has the key of {path} already, and it opens the repository")
    else:
        show.out.print(f"[bold green]restored[/bold green] as version {number}: inv deploy gives it to the backup")
