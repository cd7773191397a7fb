"""inv keycloak.rotate: new secrets and new keys, without a failed login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import Decision, Operation, Revert, execute
from ops.core.errors import NeedsPerson, UsageProblem, did_you_mean

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.keycloak.admin import Api
    from ops.keycloak.rotate.keys import Provider
    from ops.project import Project
    from ops.secrets.table import Target

WHAT = ("client", "admin", "database", "keys")
TO_READ = "inv --help keycloak.rotate"


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
    from ops.keycloak.rotate.keys import VERB
    from ops.releases.situation import open_running
    from ops.secrets.commands import rotate_secrets

    began = time.monotonic()
    target = target_of(what, name)
    for option, given in (("--finish", finish), ("--internal", internal)):
        if given and target:
            raise UsageProblem(f"keycloak.rotate {what} takes no {option}", "it is said of the keys", TO_READ)
    project = open_running()
    if target:
        steps = rotate_secrets(project, [target], VERB, plan_only=plan, yes=yes)
    else:
        steps = _keys(project, finish, internal, plan, yes)
    if steps:
        of = name or what
        show.out.print(f"[bold green]{of} rotated[/bold green]: {steps} steps in {time.monotonic() - began:.1f} s")
    if not target and not finish:
        _say_what_is_left(project)


def target_of(what: str, name: str) -> Target | None:
    """What a command line means; None for the keys of the realm.

    Raises UsageProblem, with a suggestion, for what cannot be rotated.
    """
    from ops.secrets.table import ADMINISTRATOR, CLIENTS, DATABASE

    if what not in WHAT:
        raise UsageProblem(f'keycloak.rotate knows no "{what}"', did_you_mean(what, WHAT), TO_READ)
    if what == "client":
        if not name:
            raise UsageProblem("keycloak.rotate client needs NAME", f"known: {', '.join(sorted(CLIENTS))}", TO_READ)
        if name not in CLIENTS:
            raise UsageProblem(f'keycloak.rotate knows no client "{name}"', did_you_mean(name, CLIENTS), TO_READ)
        return CLIENTS[name]
    if name:
        raise UsageProblem(f"keycloak.rotate {what} takes no NAME", f'"{name}" has no meaning here', TO_READ)
    return {"admin": ADMINISTRATOR, "database": DATABASE}.get(what)


def _say_what_is_left(project: Project) -> None:
    """Raises NeedsPerson where a key that signs was made elsewhere: it is the same as before."""
    from ops.keycloak.rotate.keys import not_rotated

    if left := not_rotated(_found(_api(project))):
        raise NeedsPerson(
            "not every key was rotated", f"{', '.join(f'{one.name} ({one.kind})' for one in left)}: made elsewhere",
            "admin console, Realm settings, Keys, Add provider: a new one with a higher priority; make the old one passive",
        )  # fmt: skip


def _api(project: Project) -> Api:
    from ops.keycloak.admin import OPERATIONS, Api

    return Api.of(project, OPERATIONS)


def _found(api: Api) -> tuple[Provider, ...]:
    from ops.keycloak.rotate.keys import providers
    from ops.keycloak.rotate.steps import PROVIDER_TYPE

    return providers(api.get("/components", type=PROVIDER_TYPE))


def _keys(project: Project, finish: bool, internal: bool, plan: bool, yes: bool) -> int:
    from ops.keycloak.rotate.keys import INTERNAL, PUBLIC, VERB, plan_back, plan_keys, stamp, unfinished, valid_until

    api = _api(project)
    kinds = PUBLIC | INTERNAL if internal else PUBLIC
    rotation = unfinished(_found(api)) or ("" if finish else stamp(time.time()))
    offline = any(int(one.get("offline", 0)) for one in api.get("/client-session-stats"))
    until = valid_until(api.get(""), time.time(), offline=offline, clients=api.get("/clients"))

    def left() -> Plan:
        return plan_keys(_found(api), time.time(), rotation, until, kinds)

    def decide() -> Decision:
        return Decision(project, left(), left=left, revert=revert)

    revert = Revert(
        lambda: Decision(project, plan_back(_found(api), rotation, until)), "having the previous keys sign again",
        restored="the previous keys sign again, what the new ones have signed stays valid", interrupts=False,
        unchanged="no key is half replaced",
        by_hand="old and new keys are valid, no user is logged out; inv keycloak.rotate keys continues",
    )  # fmt: skip
    return execute(Operation(project, VERB, decide, plan_only=plan, yes=yes))
