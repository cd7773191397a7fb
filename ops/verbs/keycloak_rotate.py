"""inv keycloak.rotate: new secrets and new keys, without a failed login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.errors import HostLacks, NeedsPerson, OpsError, UsageProblem
from ops.verbs.common import verb

if TYPE_CHECKING:
    from ops.machine.keycloak.rotate import RealmKeys
    from ops.machine.project import Project
    from ops.model import Plan, Seen
    from ops.plan.keycloak.rotate import Target
    from ops.verbs.transition import Goal


@verb(positional=["what", "name"], help={
    "what": "client, admin (password of the first administrator), database (Keycloak's password), or keys (of the realm)",
    "name": "client: which one, for example cc03-grafana",
    "finish": "keys: only go on with what was broken off, and remove keys of which everything has expired",
    "internal": "keys: those of refresh tokens and cookies too; whoever has the login page open types the password again",
    "plan": "show what would be done, for whom, and how long the old value stays valid; do nothing",
    "yes": "do not ask",
})  # fmt: skip
def rotate(
    c: Context, what: str, name: str = "", finish: bool = False, internal: bool = False, plan: bool = False, yes: bool = False
) -> None:  # fmt: skip
    """Replace a secret or the signing keys of Keycloak: made, handed to both sides, verified, or put back."""
    from ops import show
    from ops.machine.project import must_exist, open_project
    from ops.plan.keycloak.rotate import TO_READ, target_of

    began = time.monotonic()
    target = target_of(what, name)
    for option, given in (("--finish", finish), ("--internal", internal)):
        if given and target:
            raise UsageProblem(f"keycloak.rotate {what} takes no {option}", "it is said of the keys", TO_READ)
    project = must_exist(open_project())
    steps = _secret(project, target, plan, yes) if target else _keys(project, finish, internal, plan, yes)
    if steps:
        of = name or what
        show.out.print(f"[bold green]{of} rotated[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")


def _secret(project: Project, target: Target, plan: bool, yes: bool) -> int:
    from ops.machine.keycloak.rotate import must_answer
    from ops.machine.releases import current_number
    from ops.verbs.transition import bring_about

    if current_number(project.state) is None:
        raise HostLacks("nothing is deployed", "there is no release whose secret could be rotated", "inv deploy")
    if not target.to.startswith("role "):
        must_answer(project)
    return bring_about(rotation_goal(project, target), plan_only=plan, yes=yes)


def rotation_goal(project: Project, target: Target) -> Goal:
    """The release that runs, with a new version of one secret, which both sides know."""
    from ops.machine.keycloak import rotate as machine
    from ops.machine.observe import secret_versions
    from ops.plan.keycloak.rotate import VERB, rotation
    from ops.plan.wanted import with_versions
    from ops.secret_steps import HandOver
    from ops.verbs.transition import again

    running = project.deployed
    if target.to.startswith("role ") and not any(target.secret in one.hands for one in running.stack.services.values()):
        raise HostLacks(
            "the release that runs cannot have this password rotated", "an older version of this repository has sealed it",
            "inv deploy, then rotate",
        )  # fmt: skip
    present = secret_versions(project.state)
    secret, before, version = target.secret, present.get(target.secret, 0), machine.next_version(project, target.secret)
    wanted = with_versions(running, {**present, secret: version})

    def extend(plan: Plan, seen: Seen) -> Plan:
        made = seen.secret_versions.get(secret, 0) >= version
        return rotation(plan, seen, target, version, holds=made and machine.holds(project, target.to, secret, version))

    def undo() -> None:
        # That of a role moves back with Keycloak's container.
        if before and not target.to.startswith("role ") and not machine.holds(project, target.to, secret, before):
            machine.hand_over(project, HandOver("hand back", "", secret=secret, version=before, to=target.to))
        machine.withdraw(project, secret, version)

    return again(project, wanted, VERB, extend=extend, undo=undo)


def _keys(project: Project, finish: bool, internal: bool, plan: bool, yes: bool) -> int:
    from ops.machine.keycloak.rotate import RealmKeys
    from ops.plan.keycloak.keys import INTERNAL, PUBLIC, plan_keys, stamp, unfinished
    from ops.verbs.common import carry_out

    keys = RealmKeys(project)
    kinds = PUBLIC | INTERNAL if internal else PUBLIC
    begun = unfinished(keys.found())
    rotation = begun or ("" if finish else stamp(time.time()))
    until = keys.valid_until()

    def decide() -> Plan:
        return plan_keys(keys.found(), time.time(), rotation, until, kinds)

    try:
        return carry_out(project, decide, plan_only=plan, yes=yes)
    except OpsError as problem:
        _take_back(keys, rotation, until, problem)
        raise


def _take_back(keys: RealmKeys, rotation: str, until: float, problem: OpsError) -> None:
    """The keys of before sign again, if they still may; what the new ones have signed meanwhile stays valid."""
    from ops.keycloak_steps import RetireKey
    from ops.plan.keycloak.keys import stamp

    try:
        found = keys.found()
        fresh = [one for one in found if one.signs and rotation and one.made == rotation]
        others = {(one.kind, one.algorithm) for one in found if one.signs and one.made != rotation}
        for one in fresh:
            if (one.kind, one.algorithm) in others:
                keys.retire(RetireKey("take back", "", identity=one.identity, name=f"{one.name} until {stamp(until)}"))
    except OpsError as second:
        raise NeedsPerson(
            problem.what, f"{problem.why}; taking the new keys back failed as well: {second.why}",
            "old and new keys are valid, nobody is logged out; inv keycloak.rotate keys goes on",
        ) from problem  # fmt: skip
