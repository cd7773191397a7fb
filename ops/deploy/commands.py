"""inv deploy, rollback, scale: to what the checkout says, to an earlier release, to another number of containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import HostLacks, OpsError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.core.plan import Plan
    from ops.deploy.transition import Goal
    from ops.project import Project
    from ops.stack.model import Seen, Service
    from ops.stack.release import Activation
    from ops.stack.wanted import Wanted


def checkout_goal(
    project: Project, only: str | None = None, *, verb: str = "deploy", contracting: bool = False, accept: bool = False
) -> Goal:  # fmt: skip
    """What the checkout says as the goal.

    only: the one service that may change. contracting: whether a migration may take away what older releases need.
    accept: whether policy violations of the checkout are accepted.
    Raises UsageProblem where one service is to be deployed into nothing.
    """
    from dataclasses import replace

    from ops.deploy.containers import Options
    from ops.deploy.participant import participants
    from ops.deploy.transition import Goal
    from ops.policies.admission import violations
    from ops.stack.images import missing_optional
    from ops.stack.wanted import with_one_service
    from ops.store.releases import current_number

    current = current_number(project.state)
    if only and current is None:
        raise UsageProblem(f"cannot deploy {only} alone", "there is no release yet that it could be part of", "inv deploy")

    last = project.wanted_again(current) if only and current else None

    def without(seen: Seen) -> Seen:
        for one in participants():
            one.refuse(project, seen)
        missing = missing_optional(project.stack.services.values(), project.images, seen.images)
        # With one service alone, images of the release were looked for, and not those of the checkout.
        here = project.engine.images(project.images[name].tag for name in missing)
        lacking = {name: project.images[name] for name in missing if project.images[name].tag not in here}
        away = {name: missing[name] for name, image in lacking.items() if not project.engine.offered(image.source)}
        return replace(seen, unavailable=away)

    def want(seen: Seen | None) -> Wanted:
        wanted = project.wanted(seen.secret_versions if seen else {}, frozenset(seen.unavailable if seen else ()))
        wanted = replace(wanted, violations=violations(project.declaration))
        return with_one_service(wanted, last, only) if only and last else wanted

    options = Options(settle=project.settings.deploy.settle, contracting=contracting, backup_before=backup_before(project))
    return Goal(verb, project, want, options, only, without, accept_violations=accept)


def backup_before(project: Project) -> tuple[str, tuple[str, ...]]:
    """(container, argv) of the backup that precedes a migration, where a service declares one."""
    for service in project.stack.services.values():
        if service.backup:
            return service.slots()[0], service.backup
    return "", ()


@verb(help={
    "plan": "show what would be done, and do nothing",
    "service": "change this one service only",
    "contracting": "allow a migration that removes what older releases need: no rollback past it",
    "accept-policy-violations": "deploy although compose.yaml violates policies; they are entered into the audit log",
    "render": "write the manifests for a cluster into this folder, and do nothing else",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def deploy(
    c: Context, plan: bool = False, service: str | None = None, contracting: bool = False,
    accept_policy_violations: bool = False, render: str = "", yes: bool = False,
) -> None:  # fmt: skip
    """Make the stack what this checkout describes.

    Builds, replaces containers without dropping a request, and reverts everything where a step fails.
    """
    from ops.cli import show
    from ops.deploy.transition import change_release
    from ops.hooks import find_hooks
    from ops.host.preflight import check_host
    from ops.project import RUNS, known_service, open_project
    from ops.store.releases import activations

    began = time.monotonic()
    project = open_project(cluster=RUNS)
    known_service(project, service)
    if project.cluster or render:
        _deploy_on_cluster(project, plan, service, render, yes)
        return

    def aim() -> Goal:
        return checkout_goal(project.afresh(), service, contracting=contracting, accept=accept_policy_violations)

    # A hook that cannot run is said before anything else, in a plan as well.
    find_hooks(project.host.repository / "config" / "hooks")
    if steps := change_release(aim, plan_only=plan, yes=yes, check=check_host):
        took = f"{steps} steps in {time.monotonic() - began:.1f} s"
        show.out.print(f"[bold green]deployed[/bold green]: {deployed(activations(project.state))}{took}")


def _deploy_on_cluster(project: Project, plan: bool, service: str | None, render: str, yes: bool) -> None:
    """Raises UsageProblem for what a cluster does not have."""
    from pathlib import Path

    from ops.cli import show
    from ops.project import on_cluster

    if project.cluster is None:
        raise UsageProblem(
            "--render writes manifests for a cluster", f"{project.settings.source} does not name one",
            "engine: {kubernetes: {namespace: NAME}} in that file; inv deploy --plan shows what this host would do",
        )  # fmt: skip
    if service:
        raise UsageProblem("--service does not work on a cluster yet", "a release is applied as a whole there", "inv deploy")
    if render:
        show.out.print(f"{on_cluster().manifests(project, Path(render))} manifests are in {render}; no secret is among them")
        return
    began = time.monotonic()
    if steps := on_cluster().deploy(project, plan_only=plan, yes=yes):
        show.out.print(f"[bold green]deployed[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")


def deployed(ended: Sequence[Activation]) -> str:
    """What a deploy has come to, from its own entry, the last one; empty where it made no release of its own."""
    last = ended[-1] if ended else None
    if last is None or last.verb != "deploy":
        return ""
    cost = f", {last.requests['failed']} of {last.requests['requests']} requests failed" if last.requests else ""
    back = f" (inv rollback returns to {last.previous})" if last.previous and last.previous != last.release else ""
    return f"release {last.release}{back}{cost}, "


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
    from dataclasses import replace

    from ops.cli import show
    from ops.deploy.participant import Rules
    from ops.deploy.transition import back_to, change_release
    from ops.project import RUNS, on_cluster, open_project
    from ops.stack.release import contracted_since, previous_good
    from ops.store.releases import activations, current_number, releases, schema_history

    began = time.monotonic()
    project = open_project(cluster=RUNS)
    if project.cluster:
        if steps := on_cluster().rollback(project, int(to), plan_only=plan, yes=yes):
            show.out.print(f"[bold green]rolled back[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
        return
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


@verb(positional=["service"], help={
    "service": "which service and how many, for example backend=4",
    "plan": "show what would be done, and do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def scale(c: Context, service: str, plan: bool = False, yes: bool = False) -> None:
    """Set the number of containers of a service.

    Of the release that runs, whatever the checkout says. Holds for later deploys too. No request is dropped.
    """
    from dataclasses import replace

    from ops.cli import show
    from ops.core import files
    from ops.deploy.scale import parse, remembering, rescaled, scalable
    from ops.deploy.transition import again, change_release, with_todays_secrets
    from ops.project import RUNS, on_cluster, open_project, supervisor_sources
    from ops.store.releases import current_number, read_release

    began = time.monotonic()
    name, number = parse(service)
    project = open_project(cluster=RUNS)
    if project.cluster:
        if steps := on_cluster().scale(project, scalable(project.stack.services, name), number, plan_only=plan, yes=yes):
            show.out.print(f"[bold green]{name} has {number}[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
        return

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

        def extend(plan: Plan, seen: Seen) -> Plan:
            said = files.read_json(here.state.scale) or {}
            return remembering(plan, chosen, number, by_file=here.settings.replicas_of(name), said=said, origin=origin)

        def undo() -> None:
            files.write(here.state.scale, files.dump(before))

        return replace(again(here, running, "scale", extend=extend, undo=undo), want=want)

    if steps := change_release(aim, plan_only=plan, yes=yes):
        show.out.print(f"[bold green]{name} has {number}[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
