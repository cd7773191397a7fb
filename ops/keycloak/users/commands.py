"""inv keycloak.user: the operator's daily work on users, with one-time passwords."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import confirm, recorded

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.keycloak.users.plan import Asked
    from ops.keycloak.users.users import Users
    from ops.project import Project


@verb(positional=["action", "name"], iterable=["role"], help={
    "action": "add, reset, unlock, disable, enable, delete, show or list",
    "name": "whom: the name that the user logs in with",
    "email": "add: the e-mail address", "first": "add: the first name", "last": "add: the last name",
    "role": "add: a role of the realm; may be given several times",
    "search": "list: only those whose name or e-mail address holds this",
    "keep-sessions": "reset: leave open sessions open",
    "json": "print the outcome, one-time password included, for other programs",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def user(  # noqa: PLR0913, PLR0917  (each one is an option)
    c: Context, action: str, name: str = "", email: str = "", first: str = "", last: str = "", role: list[str] | None = None,
    search: str = "", keep_sessions: bool = False, json: bool = False, yes: bool = False,
) -> None:  # fmt: skip
    """Manage users: add, reset, unlock, delete, show, list.

    New and reset users get a one-time password.
    """
    from ops.keycloak.users.plan import Asked, check
    from ops.keycloak.users.users import Users
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run

    asked = check(Asked(action, name, email, first, last, tuple(role or ()), search, keep_sessions))
    project = must_run(must_exist(open_project()))
    users = Users.of(project)
    if asked.action == "list":
        _list(users, asked, json)
        return
    if asked.action == "show":
        _show(users, asked, json)
        return
    work = {
        "add": _add, "reset": _reset, "unlock": _unlock, "disable": _disable, "enable": _enable, "delete": _delete,
    }[asked.action]  # fmt: skip
    outcome = work(project, users, asked, yes)
    if json:
        print(json_module.dumps({"action": asked.action, "name": asked.name, **outcome}, indent=2))
    else:
        _tell(asked, outcome)


def _plan(asked: Asked, what: str, *destroys: str) -> Plan:
    from ops.core.plan import Described, Plan

    return Plan("keycloak.user", (Described(f"{asked.action} {asked.name}", what),), destroys=destroys)


def _add(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    users.refuse(asked)
    # Before: what fails afterwards would cost the one-time password.
    rules = users.password_rules()
    with recorded(project, _plan(asked, f"add user {asked.name}, roles: {', '.join(asked.roles) or 'none'}")):
        one_time = users.add(asked)
    return {"one_time_password": one_time, "roles": list(asked.roles), "password_rules": rules}


def _reset(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    found, rules = users.must_find(asked.name), users.password_rules()
    with recorded(project, _plan(asked, f"give {asked.name} a new one-time password")):
        one_time, ended = users.reset(found["id"], keep_sessions=asked.keep_sessions)
    return {
        "one_time_password": one_time, "sessions_ended": ended, "enabled": found["enabled"],
        "password_rules": rules,
    }  # fmt: skip


def _unlock(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    found = users.must_find(asked.name)
    with recorded(project, _plan(asked, f"unlock {asked.name}")):
        status = users.unlock(found["id"])
    return {
        "was_locked": bool(status.get("disabled")), "failures": int(status.get("numFailures", 0)), "enabled": found["enabled"]
    }  # fmt: skip


def _disable(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    found = users.must_find(asked.name)
    number = len(users.sessions(found["id"]))
    plan = _plan(asked, f"disable {asked.name}", f"{asked.name} can not log in any more; {number} open session(s) end")
    confirm(plan, yes)
    with recorded(project, plan):
        # First, so that nobody logs in between.
        users.enable(found, enabled=False)
        ended = users.end_sessions(found["id"])
    return {"sessions_ended": ended, "was_enabled": found["enabled"]}


def _enable(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    found = users.must_find(asked.name)
    with recorded(project, _plan(asked, f"enable {asked.name}")):
        users.enable(found, enabled=True)
    return {"was_enabled": found["enabled"]}


def _delete(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    from ops.keycloak.probe.verify import PROBE
    from ops.keycloak.realm.declaration import read_realm
    from ops.keycloak.users.plan import refuse_to_delete

    declared = [one["username"] for one in read_realm(project.realm).realm.get("users", ())]
    refuse_to_delete(asked.name, [*declared, PROBE])
    found = users.must_find(asked.name)
    number = len(users.sessions(found["id"]))
    plan = _plan(asked, f"delete {asked.name}", f"user {asked.name}, with roles and password; {number} open session(s) end")
    confirm(plan, yes)
    with recorded(project, plan):
        ended = users.end_sessions(found["id"])
        users.delete(found["id"])
    return {"sessions_ended": ended}


def _show(users: Users, asked: Asked, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ops.cli import show
    from ops.keycloak.users.plan import detail_lines

    found = users.details(users.must_find(asked.name))
    if as_json:
        print(json_module.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for line in detail_lines(found):
        table.add_row(*map(escape, line))
    show.out.print(table)


def _tell(asked: Asked, outcome: dict[str, Any]) -> None:
    """What was done, in one or two lines. The password is shown here and kept nowhere."""
    ended = outcome.get("sessions_ended", 0)
    sessions = f"{ended} session{'' if ended == 1 else 's'} ended"
    if asked.action == "add":
        said = f"{asked.name} was added, with {', '.join(asked.roles) or 'no role but the default one'}"
    elif asked.action == "reset":
        said = f"{asked.name} has a new password; {'sessions kept' if asked.keep_sessions else sessions}; unlocked"
    elif asked.action == "unlock" and (outcome["was_locked"] or outcome["failures"]):
        said = f"{asked.name} is unlocked; {outcome['failures']} failed login(s) forgotten"
    elif asked.action == "unlock":
        said = f"{asked.name} was not locked"
    elif asked.action == "delete":
        said = f"{asked.name} is deleted; {sessions}. What this user has written in the application stays"
    elif asked.action == "disable":
        said = f"{asked.name} is disabled; {sessions}"
    else:
        said = f"{asked.name} is enabled" + (", and was before" if outcome["was_enabled"] else "")
    print(said)
    if asked.action in ("reset", "unlock") and not outcome["enabled"]:
        print(f"but disabled: inv keycloak.user enable {asked.name}")
    if "one_time_password" in outcome:
        print(f"one-time password: {outcome['one_time_password']}")
        print("shown this once; it must be changed at the first login")
        if outcome["password_rules"]:
            print(f"the password that the user chooses then: {outcome['password_rules']}")


def _list(users: Users, asked: Asked, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ops.cli import show
    from ops.keycloak.users import plan

    found = users.list(asked.search)
    if as_json:
        print(json_module.dumps(plan.as_json(found), indent=2))
        return
    table = Table("NAME", "E-MAIL", "ROLES", "ENABLED", "LAST LOGIN", "SESSIONS", "MUST", box=None, pad_edge=False)
    for one in found:
        table.add_row(*map(escape, plan.row(one)))
    show.out.print(table)
    show.out.print(f"[dim]{len(found)} user{'' if len(found) == 1 else 's'}[/dim]")
