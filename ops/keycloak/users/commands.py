"""inv keycloak.user: the operator's daily work on users, with one-time passwords."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import print_json, verb
from ops.cli.execute import confirm, recorded
from ops.core.errors import UsageProblem, did_you_mean

if TYPE_CHECKING:
    from ops.keycloak.users.users import Asked, Users
    from ops.project import Project

TO_READ = "inv --help keycloak.user"
ACTIONS = {
    "add": ("add user {name}, roles: {roles}", ""),
    "reset": ("give {name} a new one-time password", ""),
    "unlock": ("unlock {name}", ""),
    "disable": ("disable {name}", "{name} can not log in any more; {sessions} open session(s) end"),
    "enable": ("enable {name}", ""),
    "delete": ("delete {name}", "user {name}, with roles and password; {sessions} open session(s) end"),
    "show": ("", ""),
    "list": ("", ""),
}
"""Action -> what the audit log says, and what is lost by it."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,253}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


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
    from ops.keycloak.users.users import Asked, Users
    from ops.releases.situation import open_running

    asked = check(Asked(action, name, email, first, last, tuple(role or ()), search, keep_sessions))
    project = open_running()
    users = Users.of(project)
    if asked.action == "list":
        _list(users, asked, json)
    elif asked.action == "show":
        _show(users, asked, json)
    else:
        outcome = _change(project, users, asked, yes)
        if json:
            print_json({"action": asked.action, "name": asked.name, **outcome})
        else:
            _tell(asked, outcome)


def check(asked: Asked) -> Asked:
    """The same, with the name as Keycloak keeps it. Raises UsageProblem for a command line that cannot be meant."""
    if asked.action not in ACTIONS:
        raise UsageProblem(f'keycloak.user cannot "{asked.action}"', did_you_mean(asked.action, ACTIONS), TO_READ)
    given = {
        "--email": asked.email, "--first": asked.first, "--last": asked.last, "--role": asked.roles, "--search": asked.search,
        "--keep-sessions": asked.keep_sessions,
    }  # fmt: skip
    fits = {"add": ("--email", "--first", "--last", "--role"), "list": ("--search",), "reset": ("--keep-sessions",)}
    if strange := [option for option, value in given.items() if value and option not in fits.get(asked.action, ())]:
        raise UsageProblem(
            f"keycloak.user {asked.action} takes no {' and no '.join(strange)}", "it has no meaning here", TO_READ
        )
    if asked.action == "list":
        if asked.name:
            raise UsageProblem("keycloak.user list takes no NAME", "it shows all users", f"--search {asked.name}")
        return asked
    name = asked.name.lower()
    if asked.action == "add":
        _check_new(name, asked)
    elif not name:
        raise UsageProblem(f"keycloak.user {asked.action} needs NAME", "it was not given", TO_READ)
    return replace(asked, name=name)


def _check_new(name: str, asked: Asked) -> None:
    """Raises UsageProblem with everything that is missing or wrong, at once."""
    found, reasons = [], []
    # Without any of these, Keycloak stops the first login to ask for it.
    given = {"NAME": name, "--email": asked.email, "--first": asked.first, "--last": asked.last}
    if missing := [option for option, value in given.items() if not value.strip()]:
        found.append(f"keycloak.user add needs {', '.join(missing)}")
        reasons.append("a user of this realm has each of them")
    if name and not _NAME.fullmatch(name):
        found.append(f'"{asked.name}" is no name for a user')
        reasons.append("a name takes letters, digits and . _ @ + -, and begins with a letter or a digit")
    if asked.email.strip() and not _EMAIL.fullmatch(asked.email):
        found.append(f'"{asked.email}" is no e-mail address')
        reasons.append("an e-mail address is NAME@DOMAIN")
    if found:
        raise UsageProblem("; ".join(found), "; ".join(reasons), TO_READ)


def refuse_to_delete(name: str, declared: Iterable[str]) -> None:
    """Raises UsageProblem for a user that the stack itself needs, or that the next deploy makes again.

    declared: names of the users of config/keycloak/realm.yaml, and of those that the stack logs in as.
    """
    if name in declared or name.startswith("service-account-"):
        raise UsageProblem(
            f"{name} cannot be deleted", "the stack logs in as this user, or config/keycloak/realm.yaml declares it and "
            "the next deploy makes it again", f"inv keycloak.user disable {name}, or remove it from realm.yaml first",
        )  # fmt: skip


def _change(project: Project, users: Users, asked: Asked, yes: bool) -> dict[str, Any]:
    from ops.core.plan import Described, Plan
    from ops.keycloak.probe.verify import PROBE
    from ops.keycloak.realm.declaration import read_realm

    if asked.action == "delete":
        declared = [one["username"] for one in read_realm(project.realm).realm.get("users", ())]
        refuse_to_delete(asked.name, [*declared, PROBE])
    if asked.action == "add":
        users.refuse(asked)
    found = {} if asked.action == "add" else users.must_find(asked.name)
    # Before: what fails afterwards would cost the one-time password.
    rules = {"password_rules": users.password_rules()} if asked.action in ("add", "reset") else {}
    what, loss = ACTIONS[asked.action]
    losses = (loss.format(name=asked.name, sessions=len(users.sessions(found["id"]))),) if loss else ()
    step = Described(f"{asked.action} {asked.name}", what.format(name=asked.name, roles=", ".join(asked.roles) or "none"))
    plan = Plan("keycloak.user", (step,), destroys=losses)
    confirm(plan, yes)
    work = {
        "add": lambda: users.add(asked), "reset": lambda: users.reset(found, keep_sessions=asked.keep_sessions),
        "unlock": lambda: users.unlock(found), "disable": lambda: users.disable(found),
        "enable": lambda: users.enable(found), "delete": lambda: users.delete(found),
    }  # fmt: skip
    with recorded(project, plan):
        return {**work[asked.action](), **rules}


def _show(users: Users, asked: Asked, as_json: bool) -> None:
    from rich.markup import escape

    from ops.cli import show
    from ops.keycloak.users.users import detail_lines

    found = users.details(users.must_find(asked.name))
    if as_json:
        print_json(found)
        return
    table = show.table(show_header=False)
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

    from ops.cli import show
    from ops.keycloak.users.users import row

    found = users.list(asked.search)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = show.table("NAME", "E-MAIL", "ROLES", "ENABLED", "LAST LOGIN", "SESSIONS", "MUST")
    for one in found:
        table.add_row(*map(escape, row(one)))
    show.out.print(table)
    show.out.print(f"[dim]{len(found)} user{'' if len(found) == 1 else 's'}[/dim]")
