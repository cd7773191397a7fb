"""inv certs, certs.rotate, certs.ca, certs.import: certificates as they are, and another in their place."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.cli.execute import Decision, Operation, Revert, execute, planned
from ops.core.errors import OpsError, UsageProblem

if TYPE_CHECKING:
    from rich.table import Table

    from ops.certificates.facts import Row
    from ops.core.plan import Plan, Step
    from ops.project import Project
    from ops.stack.certificates import Leaf


@verb(changes=False, default=True, name="show", help={"json": "print everything for other programs"})
def show_certificates(c: Context, json: bool = False) -> None:
    """List certificates as served and as stored.

    Exit code 1 where the two differ or clients would refuse one.
    """
    from ops.certificates import facts
    from ops.certificates.facts import roots_as_distributed, survey
    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run

    project = must_exist(open_project())
    rows, authorities = survey(project), facts.authorities(project.state)
    findings = [*(said for row in rows for said in row.findings()), *roots_as_distributed(project)]
    findings += filter(None, [facts.renewal_problem(project.state)])
    if json:
        content = {"certificates": [row.as_json() for row in rows], "authorities": authorities, "findings": findings}
        print_json(content)
    else:
        show.out.print(_table(rows))
        for one in authorities:
            key = "key here" if one["key_here"] else "key not here" if one["signs"] else "trusted, signs no more"
            show.out.print(f"[dim]{one['kind']} {one['name']}, until {str(one['expires'])[:10]}, {key}[/dim]")
    if findings:
        # Of a stack that is stopped no certificate is served, and a rotation would not mend that.
        must_run(project)
        more = f" (and {len(findings) - 3} more)" if len(findings) > 3 else ""
        raise OpsError(
            f"{len(findings)} findings", "; ".join(findings[:3]) + more, "inv certs.rotate reissues and verifies them"
        )  # fmt: skip


def _table(rows: list[Row]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    drawn = Table("CERTIFICATE", "NAMES", "ISSUER", "KEY", "SERIAL", "EXPIRES", "RENEWAL", "FILE", "SERVED", box=None,
                  pad_edge=False)  # fmt: skip
    for row in rows:
        said = row.as_json()
        served = ", ".join(
            f"[green]{one['at']}[/green]" if one["as_it_should_be"] else f"[red]{one['at']}[/red]" for one in said["served"]
        )
        file = f"{said['mode']} uid {said['owner']}" if said["serial"] else "[red]none that can be read[/red]"
        drawn.add_row(
            said["name"], escape(", ".join(said["names"])), escape(said["issuer"]), said["key"], said["serial"][:12],
            str(said["expires"] or "–")[:10], str(said["renewal"] or f"– ({said['source']})")[:16], file, served,
        )  # fmt: skip
    return drawn


@verb(positional=["names"], help={
    "names": "which ones, such as nginx or postgres,backup; all where none is named",
    "due": "only those that are due, and interrupted rotations: what the stack itself runs",
    "plan": "show what would be done; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def rotate(c: Context, names: str = "", due: bool = False, plan: bool = False, yes: bool = False) -> None:
    """Reissue certificates.

    Checked, installed, loaded and seen in a handshake; on a failure the previous ones are served again.
    """
    from ops.certificates import facts
    from ops.certificates.plan import ACME, IMPORTED, INTERNAL, chosen, plan_rotate
    from ops.releases.situation import open_running

    project = open_running()
    known = facts.leaves_of(project)
    asked = _with_shared(chosen(known, filter(None, names.split(","))), known, project)
    at_first = {leaf.name: facts.stored(project.state, leaf) for leaf in asked}
    if names and (foreign := [one for one in at_first.values() if one.source in (IMPORTED, ACME)]):
        told = {IMPORTED: "inv certs.import puts another in its place", ACME: "inv certs.acme --again has another one issued"}
        raise UsageProblem(
            f"{foreign[0].leaf.name} was not issued here", f"its source is {foreign[0].source}", told[foreign[0].source]
        )
    # What a killed command has begun is completed, and not begun again.
    before = {name: one.serial for name, one in at_first.items() if one.source == INTERNAL and not one.begun}

    def decide() -> Plan:
        return plan_rotate([facts.stored(project.state, leaf) for leaf in known], before, dt.datetime.now(dt.UTC), due=due)

    replace_certificates(project, "certs.rotate", decide, known, plan, yes, "certificates rotated")


def _with_shared(asked: tuple[Leaf, ...], known: tuple[Leaf, ...], project: Project) -> tuple[Leaf, ...]:
    """Those asked for; in place of one that is only a link, the one that it leads to."""
    from ops.certificates.facts import stored
    from ops.certificates.plan import SHARED

    linked = {leaf.service for leaf in asked if stored(project.state, leaf).source == SHARED}
    return (*asked, *(leaf for leaf in known if leaf.name in linked and leaf not in asked))


def replace_certificates(
    project: Project, verb: str, decide: Callable[[], Plan], leaves: tuple[Leaf, ...], plan: bool, yes: bool, done: str
) -> int:  # fmt: skip
    """As `execute`; where it fails, certificates that were put in place and not seen on the wire are reverted."""
    from ops.certificates import folder
    from ops.certificates.plan import plan_revert
    from ops.cli import show

    def unproved() -> Decision | None:
        left = [leaf for leaf in leaves if folder.pending(leaf.file(project.state.root))]
        for leaf in leaves:
            if leaf not in left:
                folder.settle(leaf.file(project.state.root))  # what was prepared and is not needed any more
        return Decision(project, plan_revert(left)) if left else None

    revert = Revert(
        unproved, "restoring the previous certificates", restored="the previous certificates are served as before",
        by_hand="inv certs shows what is served; inv certs.rotate tries again", interrupts=False,
    )  # fmt: skip

    def decision() -> Decision:
        return Decision(project, decide(), left=decide, revert=revert)

    began = time.monotonic()
    steps = execute(Operation(project, verb, decision, plan_only=plan, yes=yes))
    if steps:
        show.out.print(f"[bold green]{done}[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
    return steps


@verb(help={
    "rollover": "start or continue the change to a new root: trusted beside the old one, then signing everything",
    "finish": "trust only the new root; before that, every client must have it (docs/how-to/certificates.md)",
    "lost-key": "the old root's key is lost or stolen: clients that know only the old root lose access when the new one signs",
    "export": "write the root and its encrypted key into this file",
    "offline": "with --export: remove the key from this host, once the copy has been read back",
    "bring": "take the root's key back from such a file",
    "plan": "show what would be done; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def ca(
    c: Context, rollover: bool = False, finish: bool = False, lost_key: bool = False, export: str = "", offline: bool = False,
    bring: str = "", plan: bool = False, yes: bool = False,
) -> None:  # fmt: skip
    """Replace the internal root CA, or move its key away.

    The root is replaced without a failed handshake; its key can be kept off this host.
    """
    from ops.project import must_exist, open_project

    wanted = [name for name, given in (("--rollover", rollover or finish), ("--export", export), ("--bring", bring)) if given]
    if len(wanted) != 1 or (offline and not export) or (lost_key and not rollover):
        raise UsageProblem(
            "certs.ca does one thing at a time", f"given: {' '.join(wanted) or 'none of them'}",
            "inv certs.ca --rollover [--lost-key] [--finish] | --export FILE [--offline] | --bring FILE",
        )  # fmt: skip
    project = must_exist(open_project())
    if rollover or finish:
        _roll_over(project, begin=rollover, finish=finish, bridged=not lost_key, plan=plan, yes=yes)
        return
    _move_key(project, str(Path(export or bring).absolute()), out=bool(export), remove=offline, plan=plan, yes=yes)


def _roll_over(project: Project, *, begin: bool, finish: bool, bridged: bool, plan: bool, yes: bool) -> None:
    from ops.certificates import facts
    from ops.certificates.plan import plan_rollover
    from ops.cli import show

    leaves = facts.leaves_of(project)
    at_first = facts.authority_seen(project.state)

    def decide() -> Plan:
        authority = facts.authority_seen(project.state)
        found = [facts.stored(project.state, leaf) for leaf in leaves]
        start = begin and not at_first.under_way and authority.root == at_first.root
        current = facts.signed_by_newest(project.state, found)
        return plan_rollover(authority, found, current, start=start, finish=finish, bridged=bridged)

    if finish and not begin and not at_first.under_way:
        raise UsageProblem(
            "no change of the root is under way", "there is nothing to finish", "inv certs.ca --rollover begins one"
        )
    replace_certificates(
        project, "certs.ca", decide, leaves, plan, yes, "the new root alone is trusted" if finish else "the new root signs"
    )
    if not plan and not finish:
        show.out.print("Both roots are trusted. Once every client outside has the new one: inv certs.ca --finish")
        show.out.print("[dim]docs/how-to/certificates.md says how to check that; there is no hurry[/dim]")


def _move_key(project: Project, file: str, *, out: bool, remove: bool, plan: bool, yes: bool) -> None:
    from ops.certificates.steps import ExportRoot, ImportRoot
    from ops.cli import show
    from ops.core.plan import Plan

    key = project.state.ca / "root.key"
    if out and Path(file).exists():
        raise UsageProblem(f"{file} exists already", "a copy of a key is not written over", "name another file")
    title = f"write the root and its encrypted key to {file}" + (", then remove the key here" if remove else "")
    step: Step = ExportRoot("export", title, file=file, remove=remove)
    if not out:
        step = ImportRoot("bring", f"take the root's key back from {file}", file=file)
    losses = (f"{key}: only {file} has it then, and only its passphrase opens that",) if remove else ()

    def decide() -> Plan:
        done = Path(file).exists() and not (remove and key.exists()) if out else key.exists()
        return Plan("certs.ca", () if done else (step,), destroys=() if done else losses)

    if execute(Operation(project, "certs.ca", planned(project, decide), plan_only=plan, yes=yes)) and out:
        show.out.print(f"It opens with {project.state.ca}/passphrase: keep the two apart")


@verb(name="import", positional=["certificate", "key"], help={
    "certificate": "PEM file of the certificate for the public name; what signed it may follow in the same file",
    "key": "PEM file of its key, mode 0600",
    "chain": "PEM file of what signed it, up to a root that this host's system trusts, or up to a private root",
    "remove": "go back to the certificate of the internal authority",
    "plan": "check everything, show what would be done; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def import_certificate(
    c: Context, certificate: str = "", key: str = "", chain: str = "", remove: bool = False, plan: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Serve a certificate of your own under the public name.

    It is refused, and nothing changes, where clients would refuse it.
    """
    from ops.certificates import facts, imported
    from ops.certificates.plan import chosen, plan_import
    from ops.project import must_exist, open_project
    from ops.stack.certificates import PUBLIC

    if remove == bool(certificate) or bool(certificate) != bool(key):
        raise UsageProblem(
            "certs.import takes a certificate and its key, or --remove", "one of them is missing", "inv --help certs.import"
        )  # fmt: skip
    project = must_exist(open_project())
    leaves = facts.leaves_of(project)
    (leaf,) = chosen(leaves, [PUBLIC])
    wanted = ""
    files = tuple(str(Path(path).absolute()) if path else "" for path in (certificate, key, chain))
    if not remove:
        provided = imported.read(Path(files[0]), Path(files[1]), Path(files[2]) if chain else None)
        imported.must_be_good(provided, leaf.names)
        wanted = f"{provided.chain[0].serial_number:X}"

    def decide() -> Plan:
        return plan_import(facts.stored(project.state, leaf), files, wanted)

    done = "the public site shows its certificate" if wanted else "nginx shows its own"
    replace_certificates(project, "certs.import", decide, leaves, plan, yes, done)
