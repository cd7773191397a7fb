"""What the commands do where the stack runs on a cluster: a function for each. ops/composition.py names this module."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.cli.execute import DONE, REVERTED, Decision, Operation, Revert, execute
from ops.cluster import doctor, shown
from ops.cluster.facts import KEPT_ACTIVATIONS, Observed, observe, previous_good, pull, pull_scale
from ops.cluster.plan import Wish, number_of, plan, plan_destroy, plan_scale
from ops.cluster.release import checkout_wish, facts_of, sealed_wish, wanted_of
from ops.cluster.steps import AwaitRollout, Restart, note_current
from ops.core import files, machine
from ops.core.errors import HostLacks
from ops.core.plan import Plan
from ops.engines.kubernetes.objects import WORKLOADS, identity, service_of
from ops.engines.kubernetes.reads import replicas_of
from ops.engines.kubernetes.render import RUNS, files_of, reference, render, replicas, rescaled
from ops.stack.model import Service
from ops.stack.wanted import Wanted
from ops.stack.yaml_model import dump_yaml

if TYPE_CHECKING:
    from ops.host.findings import Finding
    from ops.project import Project

Aim = Callable[[Observed], tuple[Wish, Wanted]]


def _seen(project: Project, *, plan_only: bool = False) -> Observed:
    """What the cluster has. The secrets and the CA are copied to this machine, unless a plan is only shown."""
    seen = observe(project.kubernetes)
    pull_scale(project.state, seen)
    if not plan_only:
        pull(project.kubernetes, project.state, seen)
    return seen


def change(project: Project, verb: str, aim: Aim, *, plan_only: bool, yes: bool) -> int:
    """Go to a release; back to the one before where that fails. Returns the number of steps done."""

    def decide() -> Decision:
        seen = _seen(project, plan_only=plan_only)
        wish, wanted = aim(seen)
        began = time.monotonic()

        def left() -> Plan:
            now = observe(project.kubernetes)
            return plan(replace(aim(now)[0], verb=verb), now)

        return Decision(
            project, plan(replace(wish, verb=verb), seen), wanted, left=left, revert=_revert(project, seen, verb),
            ended=partial(_record, project, verb, number_of(wish, seen), seen.number, began),
        )  # fmt: skip

    return execute(Operation(project, verb, decide, plan_only=plan_only, yes=yes, plans_first=plan_only, remembers=False))


def _revert(project: Project, seen: Observed, verb: str) -> Revert | None:
    """Back to the release that ran, where there is one."""
    number = seen.number
    if number is None:
        return None

    def decide() -> Decision:
        now = observe(project.kubernetes)
        wish, wanted = sealed_wish(project, now, number, verb)

        def left() -> Plan:
            later = observe(project.kubernetes)
            return plan(sealed_wish(project, later, number, verb)[0], later)

        return Decision(project, plan(wish, now), wanted, left=left)

    return Revert(
        decide, f"reverting to release {number}", restored=f"release {number} serves as before, reverted in {{seconds}}",
        by_hand=f"inv status shows what serves; inv rollback --to {number} tries again", again=f"inv {verb}",
        unchanged="nothing was changed", interrupts=False,
    )  # fmt: skip


def _record(project: Project, verb: str, number: int, previous: int | None, began: float, outcome: str, why: str) -> None:
    """Note in the cluster how an activation went."""
    said = {DONE: "good", REVERTED: "reverted"}.get(outcome, outcome)
    entry = {
        "release": number, "verb": verb, "at": machine.now(), "outcome": said,
        "why": why, "seconds": round(time.monotonic() - began, 1), "previous": previous,
    }  # fmt: skip
    note_current(project.kubernetes, lambda before: {
        **before, "activations": json.dumps([*json.loads(before.get("activations", "[]")), entry][-KEPT_ACTIVATIONS:]),
    })  # fmt: skip


def deploy(project: Project, *, plan_only: bool, yes: bool) -> int:
    """What the checkout says. Returns the number of steps done."""
    return change(project, "deploy", lambda seen: checkout_wish(project.afresh(), seen), plan_only=plan_only, yes=yes)


def rollback(project: Project, to: int, *, plan_only: bool, yes: bool) -> int:
    """An earlier release; 0: the newest one before the current that has served."""
    seen = observe(project.kubernetes)
    number = to or previous_good(seen)
    if number is None:
        raise HostLacks("there is no release to go back to", "none before the current one has served", "inv releases")
    return change(
        project, "rollback", lambda seen: sealed_wish(project, seen, number, "rollback"), plan_only=plan_only, yes=yes
    )


def scale(project: Project, service: Service, number: int, *, plan_only: bool, yes: bool) -> int:
    """The release that runs with another number of pods of a service, now and for later deploys."""
    by_file = project.settings.replicas_of(service.name)

    def aim(seen: Observed) -> tuple[Wish, Wanted]:
        if seen.number is None:
            raise HostLacks("nothing is deployed that could be scaled", f"{project.name} has no release yet", "inv deploy")
        running, wanted = sealed_wish(project, seen, seen.number, "scale")
        said = {**json.loads(seen.current.get("scale", "{}")), service.name: {"replicas": number, "instead_of": by_file}}
        objects = rescaled(running.objects, project.name, service, number)
        return replace(running, objects=objects, number=None, said={"scale": json.dumps(said, sort_keys=True)}), wanted

    return change(project, "scale", aim, plan_only=plan_only, yes=yes)


def manifests(project: Project, folder: Path) -> int:
    """Write the manifests of the checkout, without a cluster; how many there are. Secrets are in none of them."""
    from ops.store.versions import secret_versions

    wanted = wanted_of(project, secret_versions(project.state))
    made = files_of(render(facts_of(project, wanted, {})), dump_yaml)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        files.write(folder / name, text)
    return len(made)


def references(project: Project) -> dict[str, str]:
    """Tag of each image that the cluster runs -> its name in the registry."""
    tags = [project.images[name].tag for name in RUNS]
    return {tag: reference(tag, project.kubernetes.cluster.registry) for tag in tags}


def decided(project: Project, decide: Callable[[], Plan]) -> Callable[[], Decision]:
    """The decision of a command whose plan is all there is to it."""
    return lambda: Decision(project, decide(), wanted_of(project, {}), left=decide)


def _workloads(seen: Observed) -> dict[tuple[str, str], Any]:
    return {key: one for key, one in seen.objects.items() if key[0] in WORKLOADS}


def _must_run(project: Project, seen: Observed) -> Observed:
    if not _workloads(seen):
        raise HostLacks(
            f"nothing of {project.name} runs on this cluster", f"there is none in namespace {project.kubernetes.namespace}",
            "inv deploy",
        )  # fmt: skip
    return seen


def _scaled(
    project: Project, verb: str, numbers: Callable[[Observed], dict[tuple[str, str], int]], *, plan_only: bool = False
) -> int:
    def decide() -> Decision:
        seen = _must_run(project, observe(project.kubernetes))
        wanted = wanted_of(project, seen.stored)
        order = list(wanted.stack.services.values())
        if verb == "stop":
            order.reverse()

        def make() -> Plan:
            now = observe(project.kubernetes)
            return plan_scale(verb, numbers(now), now, order)

        return Decision(project, plan_scale(verb, numbers(seen), seen, order), wanted, left=make)

    return execute(Operation(project, verb, decide, plan_only=plan_only, remembers=False))


def stop(project: Project) -> int:
    return _scaled(project, "stop", lambda seen: dict.fromkeys(_workloads(seen), 0))


def _should(project: Project, seen: Observed) -> dict[tuple[str, str], int]:
    """How many pods the release that runs has of each workload."""
    if seen.number is None:
        raise HostLacks("nothing to start", "no release has been deployed here", "inv deploy")
    wish, _ = sealed_wish(project, seen, seen.number, "start")
    return {identity(one): replicas_of(one) for one in wish.objects if one["kind"] in WORKLOADS}


def start(project: Project) -> int:
    return _scaled(project, "start", partial(_should, project))


def restart(project: Project, service: str) -> None:
    """Replace the pods of one service, one after the other."""

    def decide() -> Decision:
        seen = _must_run(project, observe(project.kubernetes))
        own = [key for key, one in _workloads(seen).items() if service_of(one) == service]
        if not own:
            raise HostLacks(f"{service} does not run on this cluster", "the release has no workload of it", "inv status")
        wanted = wanted_of(project, seen.stored)
        deadline = wanted.stack.services[service].start_seconds * max(1, replicas(wanted.stack.services[service])) + 60
        (kind, name), *_ = own
        first = Restart(f"restart {name}", f"restart {name}", kind=kind, name=name, at=machine.now())
        wait = AwaitRollout(f"await {name}", f"wait until {name} is ready", (first,), kind=kind, name=name, deadline=deadline)
        return Decision(project, Plan("restart", (first, wait)), wanted)

    execute(Operation(project, "restart", decide, plans_first=False, remembers=False))


def destroy(project: Project, *, keep_data: bool, yes: bool) -> int:
    def make() -> Plan:
        seen = observe(project.kubernetes)
        names = [] if keep_data else [one["metadata"]["name"] for one in project.kubernetes.all_of("Secret")]
        return plan_destroy(seen, names, keep_data=keep_data)

    return execute(Operation(project, "destroy", decided(project, make), yes=yes, word=project.name, remembers=False))


def findings(project: Project) -> Iterator[Finding]:
    """What the cluster has and lacks."""
    return doctor.findings(project.kubernetes)


status, log_rows, releases = shown.status, shown.log_rows, shown.releases
