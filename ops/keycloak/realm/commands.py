"""inv keycloak.plan, keycloak.apply, keycloak.export: the realm as config/keycloak/realm.yaml declares it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, Exit

from ops.cli.command import print_json, verb
from ops.core.errors import HostLacks, UsageProblem

if TYPE_CHECKING:
    from ops.deploy.transition import Goal
    from ops.keycloak.realm.declaration import Declaration
    from ops.project import Project

DIFFERENT = 1
"""Exit code of `inv keycloak.plan --check` where the live realm is not as declared."""


def live_realm(project: Project, declaration: Declaration) -> Mapping[str, Any]:
    """The live realm, without secrets. Raises HostLacks where Keycloak cannot be asked."""
    from ops.keycloak.admin import Unreachable
    from ops.keycloak.realm.live import Realm

    try:
        return Realm.of(project, declaration).read()
    except Unreachable as problem:
        raise HostLacks("the realm cannot be read", f"{problem.what}: {problem.why}", "inv keycloak") from problem


def _declared(project: Project, file: str | None) -> Declaration:
    from ops.keycloak.realm.declaration import parse_realm
    from ops.stack.compose import fill_config, placeholders

    if file is None:
        return parse_realm(project.realm, "config/keycloak/realm.yaml")
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageProblem(f"cannot read {file}", str(problem.strerror), "inv keycloak.plan") from problem
    return parse_realm(fill_config(text, placeholders(project.settings, project.ports), {}, file), file)


@verb(changes=False, name="plan", help={
    "file": "compare with this declaration instead of config/keycloak/realm.yaml",
    "check": "exit code 1 where something differs",
    "json": "print the changes for other programs",
})  # fmt: skip
def plan(c: Context, file: str | None = None, check: bool = False, json: bool = False) -> None:
    """Show how the realm differs from its declaration.

    Changes nothing.
    """
    from rich.markup import escape

    from ops.cli import show
    from ops.keycloak.realm.plan import plan_realm, undeclared
    from ops.releases.situation import open_running

    project = open_running()
    declaration = _declared(project, file)
    live = live_realm(project, declaration)
    changes = plan_realm(declaration, live)
    doomed = {(one.kind, one.name) for one in changes if one.action == "delete"}
    found = undeclared(declaration.realm, live) if live else {}
    if json:
        print_json({
            "realm": declaration.name, "changes": [dict(one.as_json()) for one in changes], "undeclared": found,
        })  # fmt: skip
    else:
        for one in changes:
            show.out.print(escape(one.described()), style="red" if one.action == "delete" else None)
        for kind, names in found.items():
            left = [name for name in names if not any(name == gone for _, gone in doomed)]
            if left:
                show.out.print(f"[dim]left alone, since not declared: {kind} {escape(', '.join(left))}[/dim]")
        number = len(changes)
        show.out.print(f"{number or 'no'} change{'' if number == 1 else 's'} to realm {declaration.name}")
    if changes and check:
        raise Exit(code=DIFFERENT)


def realm_goal(project: Project) -> Goal:
    """The release that runs, with the realm as the checkout declares it.

    Raises UsageProblem where none runs that has a declared realm.
    """
    from ops.deploy.containers import Options
    from ops.deploy.transition import Goal, left_out_of
    from ops.keycloak.participant import ONLY
    from ops.stack.wanted import with_realm
    from ops.store.releases import current_number

    number = current_number(project.state)
    last = project.wanted_again(number) if number is not None else None
    if last is None or not last.realm:
        raise UsageProblem(
            "the realm cannot be applied alone", "no release runs here that has a declared realm", "inv deploy"
        )  # fmt: skip

    def want(seen: Any) -> Any:
        return with_realm(project.wanted(seen.secret_versions if seen else {}, frozenset()), last)

    return Goal("keycloak.apply", project, want, Options(migrate=False), ONLY, left_out_of(last))


@verb(name="apply", help={"plan": "show what would be done, and do nothing", "yes": "do not ask for confirmation"})
def apply(c: Context, plan: bool = False, yes: bool = False) -> None:
    """Apply the declared realm to Keycloak.

    As a release of its own: nothing else changes, nothing restarts.
    """
    from ops.cli import show
    from ops.deploy.transition import change_release
    from ops.releases.situation import open_running

    began = time.monotonic()
    project = open_running()
    if steps := change_release(lambda: realm_goal(project.afresh()), plan_only=plan, yes=yes):
        show.out.print(f"[bold green]the realm is as declared[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")


HEADER = """\
# The live realm of project {project}, in the form of config/keycloak/realm.yaml: what is declared there, as it is now, and what
# somebody made or changed besides. Without secrets, and without the comments of that file.
"""


@verb(changes="output", name="export", help={
    "output": "write to this new file (0600) instead of the terminal", "overwrite": "replace that file where it exists",
})  # fmt: skip
def export(c: Context, output: str | None = None, overwrite: bool = False) -> None:
    """Export the live realm as a declaration.

    To keep what was changed by hand. Without secrets.
    """
    import yaml

    from ops.core import files
    from ops.core.files import destination
    from ops.keycloak.realm.export import export as exported
    from ops.releases.situation import open_running
    from ops.stack.checkout import REALM
    from ops.stack.compose import placeholders

    path = destination(output, overwrite=overwrite) if output is not None else None

    project = open_running()
    declaration = _declared(project, None)
    written = yaml.safe_load((project.host.repository / "config" / "keycloak" / REALM).read_text(encoding="utf-8"))
    values = placeholders(project.settings, project.ports)
    # The longer one first: it may begin with the other.
    urls = {name: values[name] for name in sorted(("CC03_OPS_URL", "CC03_PUBLIC_URL"), key=lambda name: -len(values[name]))}
    live = live_realm(project, declaration)
    if not live:
        raise HostLacks(f"there is no realm {declaration.name}", "nothing has made it yet, or it was deleted", "inv deploy")
    document = exported(written, declaration.realm, live, urls)
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    text = HEADER.format(project=project.name) + body
    if path is None:
        print(text, end="")
        return
    try:
        files.write(path, text, mode=0o600)
    except OSError as problem:
        raise UsageProblem(f"cannot write {output}", str(problem.strerror), "name another file") from problem
