"""inv releases, releases.show, releases.diff: what has been deployed on this host, and what it cost its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import print_json, verb, whole_number
from ops.core.errors import HostLacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.core.state import State
    from ops.stack.release import Activation, Kept


def rows(kept: Sequence[Kept], activations: Sequence[Activation], current: int | None) -> list[dict[str, Any]]:
    """One row a release, newest first; those whose folder is gone are left out.

    A release that has served is good, with the last activation that was: a rollback to it that failed later says nothing of it.
    """
    from ops.stack.release import GOOD

    found = []
    for one in sorted(kept, key=lambda one: -one.number):
        tries = [entry for entry in activations if entry.release == one.number]
        served = [entry for entry in tries if entry.outcome == GOOD]
        last = next(iter((served or tries)[-1:]), None)
        latest = tries[-1] if tries else None
        requests = (last.requests or {}) if last else {}
        found.append({
            "release": one.number, "current": one.number == current, "intact": one.intact,
            "at": one.manifest.get("at", ""), "by": one.manifest.get("by", ""), "commit": one.manifest.get("commit"),
            "dirty": one.manifest.get("dirty"), "bytes": one.bytes, "verb": last.verb if last else "",
            "outcome": last.outcome if last else "unfinished", "why": last.why if last else "",
            "seconds": last.seconds if last else None, "requests": requests.get("requests"),
            "failed_requests": requests.get("failed"),
            "seal": one.manifest.get("seal", ""),
            "last_attempt": {"verb": latest.verb, "at": latest.at, "outcome": latest.outcome} if latest else None,
        })  # fmt: skip
    return found


def _read(state: State) -> list[dict[str, Any]]:
    from ops.store.releases import activations, current_number, releases

    return rows(releases(state), activations(state), current_number(state))


_COLOUR = {"good": "green", "reverted": "yellow", "failed": "red", "interrupted": "yellow", "unfinished": "yellow"}


@verb(changes=False, default=True, name="list", help={"json": "print a list for other programs"})
def list_releases(c: Context, json: bool = False) -> None:
    """List the releases that this host has kept.

    When, by whom, outcome, duration, failed requests.
    """
    from ops.cli import show
    from ops.project import RUNS, on_cluster, open_project

    project = open_project(cluster=RUNS)
    if project.cluster:
        on_cluster().releases(project, as_json=json)
        return
    found = _read(project.state)
    if json:
        print_json(found)
        return
    if not found:
        show.out.print("no release yet; [bold]inv deploy[/bold] makes the first one")
        return
    drawn = show.table("", "RELEASE", "AT", "BY", "COMMIT", "OUTCOME", "TOOK", "FAILED", "SIZE")
    for row in found:
        commit = (row["commit"] or "–")[:8] + ("+" if row["dirty"] else "")
        outcome = row["outcome"] if row["intact"] else "damaged"
        failed = "–" if row["failed_requests"] is None else f"{row['failed_requests']} of {row['requests']}"
        drawn.add_row(
            "*" if row["current"] else "", str(row["release"]), row["at"][:16].replace("T", " "), row["by"], commit,
            f"[{_COLOUR.get(outcome, 'red')}]{outcome}[/]", "–" if row["seconds"] is None else f"{row['seconds']:.1f} s",
            failed, f"{row['bytes'] >> 10} KB",
        )  # fmt: skip
    show.out.print(drawn)


def _kept(state: State, number: int) -> Kept:
    from ops.store.releases import read_release

    if not (state.releases / str(number)).is_dir():
        raise HostLacks(f"there is no release {number}", "it never existed, or was removed", "inv releases")
    return read_release(state, number)


@verb(
    changes=False,
    name="show",
    positional=["release"],
    help={"release": "its number", "json": "print everything for other programs"},
)
def show_release(c: Context, release: int, json: bool = False) -> None:
    """Show everything about one release.

    Images, configuration, settings, secret versions, and each activation.
    """
    from rich.markup import escape

    from ops.cli import show
    from ops.project import open_project
    from ops.store.releases import activations

    state = open_project().state
    kept = _kept(state, whole_number(release, "RELEASE"))
    tries = [entry for entry in activations(state) if entry.release == kept.number]
    if json:
        print_json({**kept.manifest, "intact": kept.intact, "activations": [entry.__dict__ for entry in tries]})
        return
    manifest = kept.manifest
    sealed = "intact" if kept.intact else "[red]damaged: its files are not what was sealed[/red]"
    show.out.print(f"[bold]release {kept.number}[/bold]  {manifest.get('at', '')}  by {manifest.get('by', '?')}  {sealed}")
    show.out.print(f"commit   {manifest.get('commit') or '–'}{' with uncommitted changes' if manifest.get('dirty') else ''}")
    show.out.print(f"seal     {manifest.get('seal', '–')}")
    for name, tag in manifest.get("images", {}).items():
        show.out.print(f"image    {name:<13} {tag}  {manifest.get('image_ids', {}).get(name, '')[:19]}")
    for name, version in manifest.get("config", {}).items():
        show.out.print(f"config   {name:<13} {version}")
    for name, value in manifest.get("settings", {}).items():
        show.out.print(f"setting  {escape(name)}: {escape(str(value))}")
    for entry in tries:
        requests = entry.requests or {}
        cost = f", {requests['failed']} of {requests['requests']} requests failed" if requests else ""
        show.out.print(f"{entry.verb:<8} {entry.at}  {entry.outcome} in {entry.seconds:.1f} s{cost} {escape(entry.why)}")


@verb(changes=False, positional=["before", "after"], help={"before": "number of a release", "after": "number of another one"})
def diff(c: Context, before: int, after: int) -> None:
    """Show what differs between two releases.

    In words.
    """
    from ops.cli import show
    from ops.project import open_project
    from ops.stack.release import CONFIG, REALM, difference

    state = open_project().state
    one, other = (_kept(state, whole_number(n, name)) for n, name in ((before, "BEFORE"), (after, "AFTER")))
    texts: dict[str, tuple[str | None, str | None]] = {}
    for index, kept in enumerate((one, other)):
        folder = state.releases / str(kept.number)
        for path in (folder / REALM, *(folder / CONFIG).rglob("*")):
            if path.is_file():
                name = str(path.relative_to(folder)).removeprefix(f"{CONFIG}/")
                pair = list(texts.get(name, (None, None)))
                pair[index] = path.read_text(encoding="utf-8")
                texts[name] = (pair[0], pair[1])
    lines = difference(one.manifest, other.manifest, texts)
    for line in lines or ["no difference"]:
        show.out.print(line, markup=False)
