"""inv keycloak.rotate: new secrets and new keys, without a failed login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import described, verb
from ops.cli.execute import execute
from ops.cli.operation import Operation, planned
from ops.core.errors import NeedsPerson, OpsError, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.keycloak.rotate.rotation import RealmKeys
    from ops.project import Project


@verb(positional=["what", "name"], help={
    "what": "client, admin (password of the first administrator), database (Keycloak's password), or keys (of the realm)",
    "name": "client: which one, for example cc03-grafana",
    "finish": "keys: only go on with what was broken off, and remove keys of which everything has expired",
    "internal": "keys: those of refresh tokens and cookies too; users with the login page open type the password again",
    "plan": "show what would be done, for whom, and how long the old value stays valid; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def rotate(
    c: Context, what: str, name: str = "", finish: bool = False, internal: bool = False, plan: bool = False, yes: bool = False
) -> None:  # fmt: skip
    """Rotate a secret or the signing keys of Keycloak.

    Set on both sides and verified by a login; on a failure reverted.
    """
    from ops.cli import show
    from ops.keycloak.rotate.choices import TO_READ, VERB, target_of
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run
    from ops.secrets.commands import rotate_secrets

    began = time.monotonic()
    target = target_of(what, name)
    for option, given in (("--finish", finish), ("--internal", internal)):
        if given and target:
            raise UsageProblem(f"keycloak.rotate {what} takes no {option}", "it is said of the keys", TO_READ)
    project = must_run(must_exist(open_project()))
    if target:
        steps = rotate_secrets(project, [target], VERB, plan_only=plan, yes=yes)
    else:
        steps = _keys(project, finish, internal, plan, yes)
    if steps:
        of = name or what
        show.out.print(f"[bold green]{of} rotated[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
    if not target and not finish:
        _say_what_is_left(project)


def _say_what_is_left(project: Project) -> None:
    """Raises NeedsPerson where a key that signs was made elsewhere: it is the same as before."""
    from ops.keycloak.rotate.keys import not_rotated
    from ops.keycloak.rotate.rotation import RealmKeys

    if left := not_rotated(RealmKeys(project).found()):
        raise NeedsPerson(
            "not every key was rotated", f"{', '.join(f'{one.name} ({one.kind})' for one in left)}: made elsewhere",
            "admin console, Realm settings, Keys, Add provider: a new one with a higher priority; make the old one passive",
        )  # fmt: skip


def _keys(project: Project, finish: bool, internal: bool, plan: bool, yes: bool) -> int:
    from ops.keycloak.rotate.choices import VERB
    from ops.keycloak.rotate.keys import INTERNAL, PUBLIC, plan_keys, stamp, unfinished
    from ops.keycloak.rotate.rotation import RealmKeys

    keys = RealmKeys(project)
    kinds = PUBLIC | INTERNAL if internal else PUBLIC
    begun = unfinished(keys.found())
    rotation = begun or ("" if finish else stamp(time.time()))
    until = keys.valid_until()

    def decide() -> Plan:
        return plan_keys(keys.found(), time.time(), rotation, until, kinds)

    try:
        return execute(Operation(project, VERB, planned(project, decide), plan_only=plan, yes=yes))
    except Exception as problem:
        _take_back(keys, rotation, until, described(problem))
        raise


def _take_back(keys: RealmKeys, rotation: str, until: float, problem: OpsError) -> None:
    """Have the previous keys sign again, if they still may; what the new ones have signed meanwhile stays valid."""
    from ops.keycloak.rotate.keys import stamp
    from ops.keycloak.rotate.steps import RetireKey

    try:
        found = keys.found()
        fresh = [one for one in found if one.signs and rotation and one.made == rotation]
        others = {(one.kind, one.algorithm) for one in found if one.signs and one.made != rotation}
        for one in fresh:
            if (one.kind, one.algorithm) in others:
                keys.retire(RetireKey("take back", "", identity=one.identity, name=f"{one.name} until {stamp(until)}"))
    except Exception as second:
        raise NeedsPerson(
            problem.what, f"{problem.why}; taking the new keys back failed as well: {described(second).why}",
            "old and new keys are valid, no user is logged out; inv keycloak.rotate keys continues",
        ) from problem  # fmt: skip
