"""inv scale: more or fewer containers of a service that can share its work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import HostLacks, UsageProblem, did_you_mean

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.project import Project
    from ops.stack.model import Seen, Service
    from ops.stack.wanted import Wanted


def parse(text: str) -> tuple[str, int]:
    """`backend=4` -> its parts. Raises UsageProblem for anything else."""
    from ops.stack.model import MAX_REPLICAS

    match = re.fullmatch(r"([a-z][a-z0-9-]*)=(\d+)", text)
    if not match or not 1 <= int(match[2]) <= MAX_REPLICAS:
        raise UsageProblem(f'"{text}" is no scale', f"the form is SERVICE=NUMBER, 1 to {MAX_REPLICAS}", "inv scale backend=4")
    return match[1], int(match[2])


def refuse_too_much(service: Service, number: int) -> None:
    """Raises HostLacks where the additional containers could not have the memory that they may take."""
    from ops.core.machine import available_memory

    more = (number - service.replicas) * service.limits.memory_bytes
    free = available_memory()
    if more > free:
        raise HostLacks(
            f"{number} containers of {service.name} do not fit into this host",
            f"{number - service.replicas} more may take {more >> 20} MB, and {free >> 20} MB are free",
            f"scale to fewer, or lower limits.{service.name}.memory in config/stack.yaml",
        )  # fmt: skip


def running_release(project: Project) -> Wanted:
    """The current release. Raises HostLacks where there is none, or a damaged one."""
    from ops.store.releases import current_number

    number = current_number(project.state)
    if number is None:
        raise HostLacks("nothing is deployed that could be scaled", f"{project.name} has no release yet", "inv deploy")
    return project.wanted_again(number)


def scalable(stack: Mapping[str, Service], name: str) -> Service:
    """The service. Raises UsageProblem where there is none of that name, or it cannot have several containers."""
    if name not in stack:
        raise UsageProblem(f'there is no service "{name}"', did_you_mean(name, stack), "inv status")
    if not stack[name].replicated:
        raise UsageProblem(f"{name} cannot have several containers", "compose.yaml gives it no replicas", "inv status")
    return stack[name]


def remembering(
    project: Project, service: Service, number: int, origin: Mapping[str, Any]
) -> Callable[[Plan, Seen], Plan]:  # fmt: skip
    """Adds to a plan that later deploys keep the number. That comes first: the next deploy after a killed command then goes on
    towards it.

    Parameters
    ----------
    origin: commit of the release that is scaled, which the new one has as well.
    """
    from ops.core import files
    from ops.core.plan import linked
    from ops.deploy.steps import RememberScale
    from ops.releases.steps import WriteRelease

    name, by_file = service.name, project.settings.replicas_of(service.name)

    def extend(plan: Plan, seen: Seen) -> Plan:
        steps = [
            replace(step, manifest={**(step.manifest or {}), **origin}) if isinstance(step, WriteRelease) else step
            for step in plan.steps
        ]
        said = files.read_json(project.state.scale) or {}
        entry = said.get(name, {"instead_of": None, "replicas": None})
        chosen = entry["replicas"] if entry["instead_of"] == by_file else by_file
        if (chosen or by_file or service.definition["deploy"]["replicas"]) == number:
            return replace(plan, steps=linked(steps))
        said = {**said, name: {"replicas": number, "instead_of": by_file}}
        first = RememberScale("scale", f"save the scale of {name} for later deploys: {number}", said=said)
        return replace(plan, steps=linked([first, *(replace(step, after=(*step.after, first)) for step in steps)]))

    return extend


@verb(positional=["service"], help={
    "service": "which service and how many, for example backend=4",
    "plan": "show what would be done, and do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def scale(c: Context, service: str, plan: bool = False, yes: bool = False) -> None:
    """Set the number of containers of a service.

    Of the release that runs, whatever the checkout says. Holds for later deploys too. No request is dropped.
    """
    from ops.cli import show
    from ops.core import files
    from ops.deploy.rescale import rescaled
    from ops.deploy.transition import Goal, again, change_release, with_todays_secrets
    from ops.project import open_project, supervisor_sources
    from ops.store.releases import current_number, read_release

    began = time.monotonic()
    name, number = parse(service)
    project = open_project()

    def aim() -> Goal:
        here = project.afresh()
        running = running_release(here)
        chosen = scalable(running.stack.services, name)
        refuse_too_much(chosen, number)
        manifest = read_release(here.state, current_number(here.state) or 0).manifest
        origin = {key: manifest.get(key) for key in ("commit", "dirty")}
        before = files.read_json(here.state.scale) or {}
        sources = supervisor_sources(here.host)

        def want(seen: Seen | None) -> Wanted:
            return rescaled(with_todays_secrets(running, seen), name, number, sources)

        goal = again(
            here, running, "scale", extend=remembering(here, chosen, number, origin),
            undo=lambda: files.write(here.state.scale, files.dump(before)),
        )  # fmt: skip
        return replace(goal, want=want)

    if steps := change_release(aim, plan_only=plan, yes=yes):
        show.out.print(f"[bold green]{name} has {number}[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
