"""inv rollback: the release before, or any other that this host has kept, whole."""

from __future__ import annotations

import time
from dataclasses import replace

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import HostLacks, OpsError


@verb(help={
    "to": "number of the release (inv releases); without it, the newest one before the current that has served",
    "plan": "show what would be done, and do nothing",
    "with-database": "where that release has an older Keycloak: restore the dump from before the upgrade",
    "accept-policy-violations": "go back to a release that violates policies; they are entered into the audit log",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def rollback(
    c: Context, to: int = 0, plan: bool = False, with_database: bool = False, accept_policy_violations: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Go back to an earlier release.

    Its images, configuration and settings. Builds nothing, needs no network.
    """
    from ops.cli import show
    from ops.deploy.transition import Goal, back_to, change_release
    from ops.keycloak.schema.upgrade import Rules
    from ops.project import open_project
    from ops.stack.release import contracted_since, previous_good
    from ops.store.releases import activations, current_number, releases, schema_history

    began = time.monotonic()
    project = open_project()
    state = project.state
    number = int(to)
    if not number:
        found = previous_good(releases(state), activations(state), current_number(state))
        if found is None:
            raise HostLacks("there is no release to go back to", "none before the current one has served", "inv releases")
        number = found.number

    def aim() -> Goal:
        if gone := contracted_since(schema_history(state), number):
            raise OpsError(
                f"release {number} cannot run on today's database",
                f"later migrations removed what it needs: {', '.join(gone)}",
                "go back to a later release (inv releases), or correct forward: inv deploy",
            )  # fmt: skip
        goal = back_to(project.afresh(), number, Rules(with_database=with_database))
        return replace(goal, accept_violations=accept_policy_violations)

    if steps := change_release(aim, plan_only=plan, yes=yes):
        show.out.print(
            f"[bold green]release {number} serves again[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s"
        )
