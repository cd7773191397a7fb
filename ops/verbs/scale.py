"""inv scale: more or fewer containers of a service that can share its work."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.errors import HostLacks, OpsError, UsageProblem
from ops.verbs.common import known_service, verb

if TYPE_CHECKING:
    from ops.machine.project import Project


def parse(text: str) -> tuple[str, int]:
    """`backend=4` -> its parts. Raises UsageProblem for anything else."""
    from ops.model import MAX_REPLICAS

    match = re.fullmatch(r"([a-z][a-z0-9-]*)=(\d+)", text)
    if not match or not 1 <= int(match[2]) <= MAX_REPLICAS:
        raise UsageProblem(f'"{text}" is no scale', f"it takes SERVICE=NUMBER, 1 to {MAX_REPLICAS}", "inv scale backend=4")
    return match[1], int(match[2])


def refuse_too_much(project: Project, name: str, number: int) -> None:
    """Raises HostLacks where the additional containers could not have the memory that they may take."""
    from ops.machine.host import available_memory

    service = project.stack.services[name]
    more = (number - service.replicas) * service.limits.memory_bytes
    free = available_memory()
    if more > free:
        raise HostLacks(
            f"{number} containers of {name} do not fit into this host",
            f"{number - service.replicas} more may take {more >> 20} MB, and {free >> 20} MB are free",
            f"scale to fewer, or lower limits.{name}.memory in config/stack.yaml",
        )  # fmt: skip


def refuse_other_changes(project: Project) -> None:
    """Raises OpsError where the checkout differs from what runs: scaling must not deploy something on the way."""
    from ops.verbs.deploy import checkout_goal

    _, _, plan = checkout_goal(project, verb="scale").decide()
    waiting = [step.title for step in plan.steps if step.key == "release" or step.key.startswith(("image ", "config "))]
    if waiting:
        raise OpsError(
            "this checkout is not what runs, so scaling it would deploy it", f"first of all: {waiting[0]}",
            "inv deploy --plan shows what has changed; deploy it or take it back, then scale",
        )  # fmt: skip


@verb(positional=["service"], help={
    "service": "which service and how many, for example backend=4",
    "plan": "show what would be done, and do nothing",
    "accept-policy-violations": "scale although compose.yaml violates policies; they are entered into the audit log",
    "yes": "do not ask",
})  # fmt: skip
def scale(
    c: Context, service: str, plan: bool = False, accept_policy_violations: bool = False, yes: bool = False
) -> None:  # fmt: skip
    """Set the number of containers of a service.

    Holds for later deploys too. No request is dropped.
    """
    from ops import show
    from ops.machine import state as files
    from ops.machine.preflight import check_host
    from ops.machine.project import open_project
    from ops.verbs.deploy import checkout_goal
    from ops.verbs.transition import bring_about

    began = time.monotonic()
    name, number = parse(service)
    project = open_project()
    known_service(project, name)
    if not project.stack.services[name].replicated:
        raise UsageProblem(f"{name} cannot have several containers", "compose.yaml gives it no replicas", "inv status")
    refuse_too_much(project, name, number)
    refuse_other_changes(project)
    before = dict(files.read_json(project.state.scale) or {})
    said = {**before, name: {"replicas": number, "instead_of": project.settings.get("replicas", name)}}
    goal = checkout_goal(project.with_scale(said), verb="scale", accept=accept_policy_violations)
    if not plan:
        # Before, so that whoever goes on after a killed command goes on towards this number.
        files.write(project.state.scale, files.dump(said))
    try:
        steps = bring_about(goal, plan_only=plan, yes=yes, check=check_host)
    except OpsError:
        files.write(project.state.scale, files.dump(before))
        raise
    if steps:
        show.out.print(f"[bold green]{name} has {number}[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
