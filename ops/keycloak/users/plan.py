"""The operator's daily work on users: what a command line means, what a list shows, how a one-time password is made. Pure."""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import UsageProblem, did_you_mean

ACTIONS = ("add", "reset", "unlock", "disable", "enable", "delete", "show", "list")
TO_READ = "inv --help keycloak.user"
BUILT_IN = ("offline_access", "uma_authorization")
"""Roles that Keycloak makes for its own use."""
DEFAULT_ROLES = "default-roles-"
"""Prefix of the role that every user of a realm holds."""
UNCLEAR = "0O1lI"
"""Characters that are mistaken for one another when read from a screen."""
ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set(UNCLEAR)))
GROUPS, GROUP = 4, 5
"""57 characters, 20 times: 116 bits. Longer than the realm's policy asks (12)."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,253}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    action: str
    name: str = ""
    email: str = ""
    first: str = ""
    last: str = ""
    roles: tuple[str, ...] = ()
    search: str = ""
    keep_sessions: bool = False


@dataclass(frozen=True)
class User:
    """One user as a list shows it. last_login: seconds since 1970; None where no event tells."""

    name: str
    email: str
    enabled: bool
    locked: bool
    roles: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    last_login: float | None = None
    sessions: int = 0


@dataclass(frozen=True)
class Seen:
    """What the realm says that is not part of a user."""

    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Role -> ids of the users who hold it directly."""
    default: tuple[str, ...] = ()
    """Roles that the default role stands for."""
    sessions: Mapping[str, int] = field(default_factory=dict)
    """Id of a user -> open sessions."""
    logins: Mapping[str, float] = field(default_factory=dict)
    """Id of a user -> last login, in seconds since 1970."""


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
    return Asked(**{**asked.__dict__, "name": name})


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

    Parameters
    ----------
    declared: names of the users of config/keycloak/realm.yaml, and of those that the stack logs in as.
    """
    if name in declared or name.startswith("service-account-"):
        raise UsageProblem(
            f"{name} cannot be deleted", "the stack logs in as this user, or config/keycloak/realm.yaml declares it and "
            "the next deploy makes it again", f"inv keycloak.user disable {name}, or remove it from realm.yaml first",
        )  # fmt: skip


def assignable(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles of a realm that an operator gives and takes."""
    return tuple(sorted(role for role in roles if role not in BUILT_IN and not role.startswith(DEFAULT_ROLES)))


def refuse_unknown_roles(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raises UsageProblem, with a suggestion, for a role that the realm does not have."""
    names = assignable(known)
    for role in asked:
        if role not in names:
            raise UsageProblem(f'there is no role "{role}" in the realm', did_you_mean(role, names), TO_READ)


def password(pick: Callable[[str], str]) -> str:
    """A one-time password that can be read out, with a capital letter, a small one, a digit and a dash.

    Parameters
    ----------
    pick: one character of a text, by chance (secrets.choice).
    """
    while True:
        text = "-".join("".join(pick(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
        if all(any(character in kind for character in text) for kind in _KINDS):
            return text


_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


RULES: Mapping[str, str] = {
    "length": "at least {} characters", "maxLength": "at most {} characters", "digits": "digits: {} or more",
    "upperCase": "capital letters: {} or more", "lowerCase": "small letters: {} or more",
    "specialChars": "other characters: {} or more", "notUsername": "not the user name",
    "notContainsUsername": "without the user name in it", "notEmail": "not the e-mail address",
    "passwordHistory": "none of the last {}",
}  # fmt: skip
"""Rule of a password policy that a user has to know -> in words."""


def password_rules(policy: str) -> str:
    """All rules for the password that a user chooses, at once: Keycloak's form names only the first that is not met.

    Parameters
    ----------
    policy: as the realm has it, for example `length(12) and notUsername`.
    """
    parts = re.findall(r"(\w+)(?:\(([^)]*)\))?", policy.replace(" and ", " "))
    return ", ".join(RULES[name].format(value) for name, value in parts if name in RULES)


def new_user(asked: Asked, one_time: str) -> dict[str, Any]:
    """The user as Keycloak's admin API takes it."""
    return {
        "username": asked.name, "email": asked.email, "emailVerified": True, "firstName": asked.first, "lastName": asked.last,
        "enabled": True, "requiredActions": ["UPDATE_PASSWORD"],
        "credentials": [{"type": "password", "value": one_time, "temporary": True}],
    }  # fmt: skip


def user_of(raw: Mapping[str, Any], seen: Seen) -> User:
    """`raw`: as Keycloak's list of users with their brute-force status has it."""
    identity, held = raw["id"], set[str]()
    for role, members in seen.members.items():
        if identity in members:
            held.update(seen.default if role.startswith(DEFAULT_ROLES) else (role,))
    return User(
        name=raw["username"], email=str(raw.get("email") or ""), enabled=bool(raw.get("enabled")),
        locked=bool((raw.get("bruteForceStatus") or {}).get("disabled")), roles=assignable(held),
        actions=tuple(raw.get("requiredActions") or ()), last_login=seen.logins.get(identity),
        sessions=seen.sessions.get(identity, 0),
    )  # fmt: skip


def last_logins(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Id of a user -> last login, in seconds since 1970. Keycloak's clock counts milliseconds."""
    found: dict[str, float] = {}
    for event in events:
        if identity := event.get("userId"):
            found[identity] = max(found.get(identity, 0.0), float(event["time"]) / 1000)
    return found


def session_counts(sessions: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Id of a user -> open sessions. One that several clients share is listed by each of them and counts once."""
    owners = {session["id"]: session["userId"] for session in sessions}
    return {user: sum(owner == user for owner in owners.values()) for user in set(owners.values())}


def row(user: User) -> tuple[str, ...]:
    """What a table shows of a user."""
    state = "locked" if user.locked else "yes"
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(user.last_login)) if user.last_login else "-"
    actions = ", ".join(action.lower().replace("_", " ") for action in user.actions)
    return (
        user.name, user.email, ", ".join(user.roles) or "-", state if user.enabled else "disabled", at,
        str(user.sessions), actions or "-",
    )  # fmt: skip


def details(user: Mapping[str, Any], roles: Iterable[str], status: Mapping[str, Any], sessions: int, login: float | None,
            credentials: Iterable[Mapping[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """Everything that an operator may want to know of one user.

    Parameters
    ----------
    user, status, credentials: as Keycloak's admin API has them, times in milliseconds. roles: those that the user
    holds, however. login: the last one, in seconds since 1970.
    """
    kinds = {str(one["type"]): float(one.get("createdDate") or 0) / 1000 for one in credentials}
    return {
        "name": user["username"], "email": str(user.get("email") or ""), "first": str(user.get("firstName") or ""),
        "last": str(user.get("lastName") or ""), "enabled": bool(user.get("enabled")), "locked": bool(status.get("disabled")),
        "failures": int(status.get("numFailures", 0)), "roles": list(assignable(roles)),
        "required_actions": list(user.get("requiredActions") or ()), "created": float(user["createdTimestamp"]) / 1000,
        "last_login": login, "sessions": sessions, "credentials": kinds,
    }  # fmt: skip


def detail_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as lines of a table."""

    def at(moment: float | None) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else "-"

    state = "locked" if found["locked"] else "enabled" if found["enabled"] else "disabled"
    actions = ", ".join(action.lower().replace("_", " ") for action in found["required_actions"])
    return [
        ("name", found["name"]), ("e-mail", found["email"] or "-"),
        ("full name", f"{found['first']} {found['last']}".strip() or "-"),
        ("state", f"{state}, {found['failures']} failed login(s) counted"), ("roles", ", ".join(found["roles"]) or "-"),
        ("must at the next login", actions or "-"), ("made", at(found["created"])), ("last login", at(found["last_login"])),
        ("sessions", str(found["sessions"])),
        *((f"{kind} since", at(since)) for kind, since in sorted(found["credentials"].items())),
    ]  # fmt: skip


def as_json(users: Sequence[User]) -> list[dict[str, Any]]:
    """What `--json` prints."""
    return [
        {
            "name": user.name, "email": user.email, "roles": list(user.roles), "enabled": user.enabled, "locked": user.locked,
            "last_login": user.last_login, "sessions": user.sessions, "required_actions": list(user.actions),
        }
        for user in users
    ]  # fmt: skip


MADE_WITH_SECONDS = 60.0
"""A password that is younger than its user by more than this is not the one that the user was made with."""


def first_password_spent(user: Mapping[str, Any], credentials: Iterable[Mapping[str, Any]]) -> str:
    """Why the password that a user was made with is not valid any more; empty where it still is.

    Parameters
    ----------
    user, credentials: UserRepresentation and CredentialRepresentation of Keycloak's admin API; times in milliseconds.
    """
    passwords = [float(one["createdDate"]) for one in credentials if one.get("type") == "password"]
    if not passwords:
        return "the user has no password"
    if "UPDATE_PASSWORD" not in user.get("requiredActions", ()):
        return "it was used, and the user has chosen another password"
    late = max(passwords) - float(user["createdTimestamp"]) > MADE_WITH_SECONDS * 1000
    return "inv keycloak.user reset has replaced it" if late else ""
