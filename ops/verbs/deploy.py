"""inv deploy: bring the stack to what the checkout says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.errors import UsageProblem
from ops.verbs.common import carry_out, known_service, verb

if TYPE_CHECKING:
    from ops.machine.project import Project
    from ops.model import Plan


def decide(project: Project, only: str | None) -> Plan:
    """Observe, then plan."""
    from dataclasses import replace

    from ops.machine.observe import missing_optional, not_offered, observe
    from ops.plan.deploy import plan_deploy

    seen = observe(project.host, project.targets())
    if only and seen.release is None:
        raise UsageProblem(f"cannot deploy {only} alone", "there is no release yet that it could be part of", "inv deploy")
    missing = missing_optional(project.stack.services.values(), project.images, seen.images)
    seen = replace(seen, unavailable=not_offered(project.host, missing, project.images))
    return plan_deploy(project.wanted(seen.secret_versions, frozenset(seen.unavailable)), seen, only)


@verb(help={
    "plan": "show what would be done, and do nothing",
    "service": "change this one service only",
    "yes": "do not ask",
})  # fmt: skip
def deploy(c: Context, plan: bool = False, service: str | None = None, yes: bool = False) -> None:
    """Bring the stack to what this checkout says: build, create, start, wait until healthy."""
    from ops import show
    from ops.machine.preflight import check_host
    from ops.machine.project import open_project

    began = time.monotonic()
    project = open_project()
    known_service(project, service)
    steps = carry_out(project, lambda: decide(project, service), plan_only=plan, yes=yes, check=check_host)
    if steps:
        show.out.print(f"[bold green]deployed[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
